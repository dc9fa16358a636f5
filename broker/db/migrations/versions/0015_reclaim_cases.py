"""Reclaim cases: a row with dates each, their resources, objections and history; snapshots kept meanwhile."""

from __future__ import annotations

from alembic import op

revision = "0015_reclaim_cases"
down_revision = "0011_prefix_places"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_TABLES + _GRANTS)


_TABLES = """
CREATE SEQUENCE broker.case_number;
CREATE TABLE broker.server_snapshot (
  id UUID NOT NULL,
  resource_id UUID NOT NULL,
  subject_id UUID NOT NULL,
  ordered_at TIMESTAMP WITH TIME ZONE NOT NULL,
  taken_at TIMESTAMP WITH TIME ZONE,
  removed_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_server_snapshot PRIMARY KEY (id),
  CONSTRAINT fk_server_snapshot_resource_id FOREIGN KEY(resource_id) REFERENCES broker.resource (id)
);
CREATE INDEX ix_server_snapshot_resource_id ON broker.server_snapshot (resource_id);
CREATE UNIQUE INDEX ux_server_snapshot_there ON broker.server_snapshot (subject_id, resource_id) WHERE removed_at IS NULL;
CREATE TABLE broker.reclaim_case (
  id UUID NOT NULL,
  number VARCHAR DEFAULT 'HS-' || lpad(nextval('broker.case_number')::text, 6, '0') NOT NULL,
  cause VARCHAR NOT NULL,
  unit_id UUID NOT NULL,
  sub_cloud_id UUID NOT NULL,
  system_id UUID,
  deciding_unit_id UUID NOT NULL,
  delivering_unit_id UUID NOT NULL,
  reason VARCHAR NOT NULL,
  policy VARCHAR DEFAULT '' NOT NULL,
  policy_version VARCHAR DEFAULT '' NOT NULL,
  evidence JSONB DEFAULT '{}' NOT NULL,
  finding_id UUID,
  state VARCHAR NOT NULL,
  version INTEGER DEFAULT '1' NOT NULL,
  run INTEGER DEFAULT '0' NOT NULL,
  ordered_at TIMESTAMP WITH TIME ZONE,
  opened_by UUID,
  opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
  grace_workdays INTEGER NOT NULL,
  noticed_at TIMESTAMP WITH TIME ZONE,
  due_at TIMESTAMP WITH TIME ZONE,
  due_provisional BOOLEAN DEFAULT 'false' NOT NULL,
  calendar_version VARCHAR DEFAULT '' NOT NULL,
  waits_for VARCHAR,
  look_at TIMESTAMP WITH TIME ZONE,
  waived_by UUID,
  suspended_at TIMESTAMP WITH TIME ZONE,
  keep_until TIMESTAMP WITH TIME ZONE,
  proposed_by UUID,
  proposed_at TIMESTAMP WITH TIME ZONE,
  confirmed_by UUID,
  confirmed_at TIMESTAMP WITH TIME ZONE,
  trouble VARCHAR,
  trouble_step VARCHAR,
  ending VARCHAR,
  exempt_until TIMESTAMP WITH TIME ZONE,
  closed_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_reclaim_case PRIMARY KEY (id),
  CONSTRAINT ck_reclaim_case_state CHECK (state IN ('found', 'noticed', 'objected', 'measuring', 'suspending', 'suspended', 'contested', 'proposed', 'resuming', 'releasing', 'dropped', 'exempted', 'renewed', 'given_back', 'released')),
  CONSTRAINT ck_reclaim_case_cause CHECK (cause IN ('idle', 'zombie', 'term', 'person')),
  CONSTRAINT ck_reclaim_case_reason CHECK (btrim(reason) <> ''),
  CONSTRAINT ck_reclaim_case_grace_workdays CHECK (grace_workdays BETWEEN 0 AND 250),
  CONSTRAINT ck_reclaim_case_two_people CHECK (confirmed_by <> proposed_by),
  CONSTRAINT ck_reclaim_case_confirmed CHECK (state NOT IN ('releasing', 'released') OR num_nonnulls(proposed_by, confirmed_by, suspended_at) = 3),
  CONSTRAINT ck_reclaim_case_trouble CHECK ((trouble IS NULL) = (trouble_step IS NULL)),
  CONSTRAINT ck_reclaim_case_ending CHECK (ending IN ('dropped', 'exempted', 'renewed')),
  CONSTRAINT uq_reclaim_case_number UNIQUE (number),
  CONSTRAINT fk_reclaim_case_finding_id FOREIGN KEY(finding_id) REFERENCES broker.idle_finding (id),
  CONSTRAINT fk_reclaim_case_unit_id FOREIGN KEY(unit_id) REFERENCES broker.unit (id),
  CONSTRAINT fk_reclaim_case_sub_cloud_id FOREIGN KEY(sub_cloud_id) REFERENCES broker.sub_cloud (id),
  CONSTRAINT fk_reclaim_case_system_id FOREIGN KEY(system_id) REFERENCES broker.information_system (id),
  CONSTRAINT fk_reclaim_case_deciding_unit_id FOREIGN KEY(deciding_unit_id) REFERENCES broker.unit (id),
  CONSTRAINT fk_reclaim_case_delivering_unit_id FOREIGN KEY(delivering_unit_id) REFERENCES broker.unit (id),
  CONSTRAINT fk_reclaim_case_opened_by FOREIGN KEY(opened_by) REFERENCES broker.account (id),
  CONSTRAINT fk_reclaim_case_waived_by FOREIGN KEY(waived_by) REFERENCES broker.account (id),
  CONSTRAINT fk_reclaim_case_proposed_by FOREIGN KEY(proposed_by) REFERENCES broker.account (id),
  CONSTRAINT fk_reclaim_case_confirmed_by FOREIGN KEY(confirmed_by) REFERENCES broker.account (id)
);
CREATE INDEX ix_reclaim_case_machine ON broker.reclaim_case (ordered_at) WHERE state IN ('measuring', 'releasing', 'resuming', 'suspending');
CREATE INDEX ix_reclaim_case_state ON broker.reclaim_case (state, due_at);
CREATE INDEX ix_reclaim_case_sub_cloud_id ON broker.reclaim_case (sub_cloud_id);
CREATE INDEX ix_reclaim_case_unit_id ON broker.reclaim_case (unit_id);
CREATE TABLE broker.reclaim_case_resource (
  id UUID NOT NULL,
  case_id UUID NOT NULL,
  resource_id UUID NOT NULL,
  was_active BOOLEAN,
  closed_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_reclaim_case_resource PRIMARY KEY (id),
  CONSTRAINT uq_reclaim_case_resource_case_id_resource_id UNIQUE (case_id, resource_id),
  CONSTRAINT fk_reclaim_case_resource_case_id FOREIGN KEY(case_id) REFERENCES broker.reclaim_case (id),
  CONSTRAINT fk_reclaim_case_resource_resource_id FOREIGN KEY(resource_id) REFERENCES broker.resource (id)
);
CREATE UNIQUE INDEX ux_reclaim_case_resource_open ON broker.reclaim_case_resource (resource_id) WHERE closed_at IS NULL;
CREATE TABLE broker.reclaim_objection (
  id UUID NOT NULL,
  case_id UUID NOT NULL,
  renew_until TIMESTAMP WITH TIME ZONE,
  reason VARCHAR NOT NULL,
  raised_by UUID NOT NULL,
  raised_at TIMESTAMP WITH TIME ZONE NOT NULL,
  decision VARCHAR,
  answer VARCHAR,
  until TIMESTAMP WITH TIME ZONE,
  workdays INTEGER,
  answered_by UUID,
  answered_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_reclaim_objection PRIMARY KEY (id),
  CONSTRAINT ck_reclaim_objection_reason CHECK (btrim(reason) <> '' AND btrim(answer) <> ''),
  CONSTRAINT ck_reclaim_objection_decision CHECK (decision IN ('accept', 'refuse', 'extend')),
  CONSTRAINT ck_reclaim_objection_two_people CHECK (answered_by <> raised_by),
  CONSTRAINT ck_reclaim_objection_answered CHECK (num_nonnulls(decision, answer, answered_by, answered_at) IN (0, 4)),
  CONSTRAINT ck_reclaim_objection_until CHECK (decision IS DISTINCT FROM 'accept' OR until IS NOT NULL),
  CONSTRAINT ck_reclaim_objection_workdays CHECK ((decision IS NOT DISTINCT FROM 'extend') = (workdays IS NOT NULL)),
  CONSTRAINT fk_reclaim_objection_case_id FOREIGN KEY(case_id) REFERENCES broker.reclaim_case (id),
  CONSTRAINT fk_reclaim_objection_raised_by FOREIGN KEY(raised_by) REFERENCES broker.account (id),
  CONSTRAINT fk_reclaim_objection_answered_by FOREIGN KEY(answered_by) REFERENCES broker.account (id)
);
CREATE UNIQUE INDEX ux_reclaim_objection_open ON broker.reclaim_objection (case_id) WHERE answered_at IS NULL;
CREATE TABLE broker.reclaim_act (
  id UUID NOT NULL,
  case_id UUID NOT NULL,
  event VARCHAR NOT NULL,
  state VARCHAR NOT NULL,
  note VARCHAR DEFAULT '' NOT NULL,
  actor_id UUID,
  at TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_reclaim_act PRIMARY KEY (id),
  CONSTRAINT fk_reclaim_act_case_id FOREIGN KEY(case_id) REFERENCES broker.reclaim_case (id),
  CONSTRAINT fk_reclaim_act_actor_id FOREIGN KEY(actor_id) REFERENCES broker.account (id)
);
CREATE INDEX ix_reclaim_act_case_id ON broker.reclaim_act (case_id);
CREATE FUNCTION broker.nudge_case() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
BEGIN
  PERFORM pg_notify('guiyun_work', '');
  RETURN NULL;
END $$;
CREATE TRIGGER nudge AFTER UPDATE OF run ON broker.reclaim_case
  FOR EACH ROW WHEN (OLD.run <> NEW.run) EXECUTE FUNCTION broker.nudge_case();
"""

# What people said and what happened is only added to.
_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    GRANT USAGE ON SEQUENCE broker.case_number TO guiyun_app;
    GRANT SELECT, INSERT, UPDATE ON broker.server_snapshot, broker.reclaim_case, broker.reclaim_case_resource TO guiyun_app;
    GRANT SELECT, INSERT ON broker.reclaim_objection, broker.reclaim_act TO guiyun_app;
    GRANT UPDATE (decision, answer, until, workdays, answered_by, answered_at) ON broker.reclaim_objection TO guiyun_app;
  END IF;
END $$
"""
