"""Dedicated networks: the list, plans, dates, steps in their order, what they rest on, permissions to stay, stopped funds."""

from __future__ import annotations

from alembic import op

revision = "0027_dedicated_networks"
down_revision = "0024_usage_imports"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_LIST + _STEPS + _WAITING + _GRANTS)


_LIST = """
CREATE TABLE broker.dedicated_network (
  id UUID NOT NULL,
  code VARCHAR NOT NULL,
  unit_id UUID NOT NULL,
  name VARCHAR NOT NULL,
  purpose VARCHAR NOT NULL,
  level VARCHAR NOT NULL,
  coverage VARCHAR NOT NULL,
  built_on DATE,
  grounds VARCHAR NOT NULL,
  links INTEGER NOT NULL,
  carrier VARCHAR NOT NULL,
  funding_source VARCHAR NOT NULL,
  yearly_cost_fen BIGINT NOT NULL,
  responsible_id UUID NOT NULL,
  exception_id UUID,
  registered_at TIMESTAMP WITH TIME ZONE NOT NULL,
  version INTEGER DEFAULT '1' NOT NULL,
  CONSTRAINT pk_dedicated_network PRIMARY KEY (id),
  CONSTRAINT uq_dedicated_network_code UNIQUE (code),
  CONSTRAINT fk_dedicated_network_unit_id FOREIGN KEY(unit_id) REFERENCES broker.unit (id),
  CONSTRAINT fk_dedicated_network_responsible_id FOREIGN KEY(responsible_id) REFERENCES broker.account (id),
  CONSTRAINT fk_dedicated_network_exception_id FOREIGN KEY(exception_id) REFERENCES broker.network_exception (id),
  CONSTRAINT ck_dedicated_network_level CHECK (level IN ('region', 'city', 'county', 'township', 'village')),
  CONSTRAINT ck_dedicated_network_amounts CHECK (links >= 0 AND yearly_cost_fen >= 0 AND version > 0),
  CONSTRAINT ck_dedicated_network_none_new
    CHECK ((built_on IS NOT NULL AND built_on < DATE '2019-09-11') OR exception_id IS NOT NULL)
);
CREATE INDEX ix_dedicated_network_unit_id ON broker.dedicated_network (unit_id);
CREATE TABLE broker.network_revision (
  network_id UUID NOT NULL,
  version INTEGER NOT NULL,
  at TIMESTAMP WITH TIME ZONE NOT NULL,
  by UUID,
  source VARCHAR NOT NULL,
  entry JSONB NOT NULL,
  CONSTRAINT pk_network_revision PRIMARY KEY (network_id, version),
  CONSTRAINT fk_network_revision_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT fk_network_revision_by FOREIGN KEY(by) REFERENCES broker.account (id),
  CONSTRAINT ck_network_revision_source CHECK (source IN ('form', 'import'))
);
CREATE TABLE broker.network_system (
  id UUID NOT NULL,
  network_id UUID NOT NULL,
  system_id UUID NOT NULL,
  added_at TIMESTAMP WITH TIME ZONE NOT NULL,
  dropped_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_network_system PRIMARY KEY (id),
  CONSTRAINT fk_network_system_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT fk_network_system_system_id FOREIGN KEY(system_id) REFERENCES broker.information_system (id)
);
CREATE UNIQUE INDEX ux_network_system ON broker.network_system (network_id, system_id) WHERE dropped_at IS NULL;
CREATE INDEX ix_network_system_system_id ON broker.network_system (system_id);
"""

_STEPS = """
CREATE TABLE broker.network_plan (
  network_id UUID NOT NULL,
  scope VARCHAR NOT NULL,
  content VARCHAR NOT NULL,
  zone VARCHAR NOT NULL,
  leader_id UUID NOT NULL,
  office VARCHAR NOT NULL,
  liaison_id UUID NOT NULL,
  document_number VARCHAR NOT NULL,
  CONSTRAINT pk_network_plan PRIMARY KEY (network_id),
  CONSTRAINT fk_network_plan_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT fk_network_plan_leader_id FOREIGN KEY(leader_id) REFERENCES broker.account (id),
  CONSTRAINT fk_network_plan_liaison_id FOREIGN KEY(liaison_id) REFERENCES broker.account (id),
  CONSTRAINT ck_network_plan_zone CHECK (zone IN ('shared', 'private', 'internet'))
);
CREATE TABLE broker.network_date (
  network_id UUID NOT NULL,
  position SMALLINT NOT NULL,
  version INTEGER NOT NULL,
  due_on DATE NOT NULL,
  owner_id UUID NOT NULL,
  reason VARCHAR DEFAULT '' NOT NULL,
  set_by UUID,
  set_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_network_date PRIMARY KEY (network_id, position, version),
  CONSTRAINT fk_network_date_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT fk_network_date_owner_id FOREIGN KEY(owner_id) REFERENCES broker.account (id),
  CONSTRAINT fk_network_date_set_by FOREIGN KEY(set_by) REFERENCES broker.account (id),
  CONSTRAINT ck_network_date_position CHECK (position BETWEEN 1 AND 4),
  CONSTRAINT ck_network_date_reason CHECK (version > 0 AND (version = 1 OR btrim(reason) <> ''))
);
-- A step's row refers to the one before it: nothing out of order, nothing twice, whoever writes it.
CREATE TABLE broker.network_step (
  network_id UUID NOT NULL,
  position SMALLINT NOT NULL,
  previous SMALLINT GENERATED ALWAYS AS (NULLIF(position - 1, 0)) STORED,
  done_on DATE NOT NULL,
  evidence VARCHAR NOT NULL,
  outcome VARCHAR,
  done_by UUID NOT NULL,
  confirmed_by UUID,
  at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_network_step PRIMARY KEY (network_id, position),
  CONSTRAINT fk_network_step_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT fk_network_step_previous FOREIGN KEY(network_id, previous)
    REFERENCES broker.network_step (network_id, position),
  CONSTRAINT fk_network_step_done_by FOREIGN KEY(done_by) REFERENCES broker.account (id),
  CONSTRAINT fk_network_step_confirmed_by FOREIGN KEY(confirmed_by) REFERENCES broker.account (id),
  CONSTRAINT ck_network_step_position CHECK (position BETWEEN 1 AND 4),
  CONSTRAINT ck_network_step_evidence CHECK (btrim(evidence) <> ''),
  CONSTRAINT ck_network_step_outcome CHECK (outcome IN ('removed', 'merged', 'converted')),
  CONSTRAINT ck_network_step_last CHECK ((position = 4) = (outcome IS NOT NULL AND confirmed_by IS NOT NULL)),
  CONSTRAINT ck_network_step_two_people CHECK (confirmed_by <> done_by)
);
CREATE TABLE broker.network_segment (
  network_id UUID NOT NULL,
  resource_id UUID NOT NULL,
  position SMALLINT NOT NULL,
  tied_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_network_segment PRIMARY KEY (network_id, resource_id),
  CONSTRAINT fk_network_segment_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT fk_network_segment_resource_id FOREIGN KEY(resource_id) REFERENCES broker.resource (id),
  CONSTRAINT fk_network_segment_step FOREIGN KEY(network_id, position)
    REFERENCES broker.network_step (network_id, position)
);
CREATE INDEX ix_network_segment_resource_id ON broker.network_segment (resource_id);
"""

_WAITING = """
CREATE TABLE broker.network_closing (
  id UUID NOT NULL,
  network_id UUID NOT NULL,
  outcome VARCHAR NOT NULL,
  done_on DATE NOT NULL,
  evidence VARCHAR NOT NULL,
  proposed_by UUID NOT NULL,
  proposed_at TIMESTAMP WITH TIME ZONE NOT NULL,
  decision VARCHAR,
  answer VARCHAR,
  decided_by UUID,
  decided_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_network_closing PRIMARY KEY (id),
  CONSTRAINT fk_network_closing_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT fk_network_closing_proposed_by FOREIGN KEY(proposed_by) REFERENCES broker.account (id),
  CONSTRAINT fk_network_closing_decided_by FOREIGN KEY(decided_by) REFERENCES broker.account (id),
  CONSTRAINT ck_network_closing_outcome CHECK (outcome IN ('removed', 'merged', 'converted')),
  CONSTRAINT ck_network_closing_decision CHECK (decision IN ('confirmed', 'declined')),
  CONSTRAINT ck_network_closing_decided CHECK (num_nonnulls(decision, answer, decided_by, decided_at) IN (0, 4)),
  CONSTRAINT ck_network_closing_two_people CHECK (decided_by <> proposed_by)
);
CREATE UNIQUE INDEX ux_network_closing_open ON broker.network_closing (network_id) WHERE decision IS NULL;
CREATE TABLE broker.network_stay (
  id UUID NOT NULL,
  network_id UUID NOT NULL,
  until DATE NOT NULL,
  document_number VARCHAR NOT NULL,
  reason VARCHAR NOT NULL,
  granted_by UUID NOT NULL,
  granted_at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_network_stay PRIMARY KEY (id),
  CONSTRAINT fk_network_stay_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT fk_network_stay_granted_by FOREIGN KEY(granted_by) REFERENCES broker.account (id),
  CONSTRAINT ck_network_stay_reason CHECK (btrim(document_number) <> '' AND btrim(reason) <> '')
);
CREATE INDEX ix_network_stay_network_id ON broker.network_stay (network_id);
CREATE TABLE broker.funds_stop (
  id UUID NOT NULL,
  network_id UUID NOT NULL,
  position SMALLINT NOT NULL,
  due_on DATE NOT NULL,
  noticed_at TIMESTAMP WITH TIME ZONE NOT NULL,
  report_at TIMESTAMP WITH TIME ZONE NOT NULL,
  stopped_at TIMESTAMP WITH TIME ZONE,
  lifted_at TIMESTAMP WITH TIME ZONE,
  lifted_why VARCHAR,
  CONSTRAINT pk_funds_stop PRIMARY KEY (id),
  CONSTRAINT fk_funds_stop_network_id FOREIGN KEY(network_id) REFERENCES broker.dedicated_network (id),
  CONSTRAINT ck_funds_stop_position CHECK (position BETWEEN 1 AND 4),
  CONSTRAINT ck_funds_stop_lifted_why CHECK (lifted_why IN ('done', 'dated', 'stays')),
  CONSTRAINT ck_funds_stop_lifted CHECK (num_nonnulls(lifted_at, lifted_why) IN (0, 2)),
  CONSTRAINT ck_funds_stop_not_before_its_day CHECK (stopped_at >= report_at)
);
CREATE INDEX ix_funds_stop_network_id ON broker.funds_stop (network_id);
CREATE TABLE broker.network_import (
  id UUID NOT NULL,
  file_name VARCHAR NOT NULL,
  content BYTEA NOT NULL,
  digest VARCHAR NOT NULL,
  created_by UUID NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE NOT NULL,
  applied_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_network_import PRIMARY KEY (id),
  CONSTRAINT fk_network_import_created_by FOREIGN KEY(created_by) REFERENCES broker.account (id)
);
CREATE UNIQUE INDEX ux_funds_stop_open ON broker.funds_stop (network_id) WHERE lifted_at IS NULL;
"""

_GRANTS = """
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON broker.dedicated_network, broker.network_revision, broker.network_system, broker.network_plan,
      broker.network_date, broker.network_step, broker.network_segment, broker.network_closing, broker.network_stay,
      broker.funds_stop, broker.network_import FROM guiyun_app;
    GRANT SELECT, INSERT ON broker.dedicated_network, broker.network_revision, broker.network_system,
      broker.network_plan, broker.network_date, broker.network_step, broker.network_segment, broker.network_closing,
      broker.network_stay, broker.funds_stop, broker.network_import TO guiyun_app;
    GRANT UPDATE (name, purpose, level, coverage, built_on, grounds, links, carrier, funding_source, yearly_cost_fen,
      responsible_id, exception_id, version) ON broker.dedicated_network TO guiyun_app;
    GRANT UPDATE (applied_at) ON broker.network_import TO guiyun_app;
    GRANT UPDATE (dropped_at) ON broker.network_system TO guiyun_app;
    GRANT UPDATE (decision, answer, decided_by, decided_at) ON broker.network_closing TO guiyun_app;
    GRANT UPDATE (stopped_at, lifted_at, lifted_why) ON broker.funds_stop TO guiyun_app;
  END IF;
END $$;
"""
