"""Notices on their way to e-mail addresses and groups: claimed with a lease, handed over at most once."""

from __future__ import annotations

from alembic import op

revision = "0015c_sendings"
down_revision = "0017b_zombies"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_TABLES + _GRANTS)


# What was told before there were channels is not sent any more.
_TABLES = """
ALTER TABLE broker.notice ADD COLUMN expanded_at TIMESTAMP WITH TIME ZONE;
UPDATE broker.notice SET expanded_at = now();
CREATE INDEX ix_notice_new ON broker.notice (id) WHERE expanded_at IS NULL;
CREATE TABLE broker.notice_sending (
  id UUID NOT NULL,
  notice_id UUID NOT NULL,
  channel VARCHAR NOT NULL,
  account_id UUID,
  webhook VARCHAR DEFAULT '' NOT NULL,
  state VARCHAR DEFAULT 'waiting' NOT NULL,
  attempts INTEGER DEFAULT '0' NOT NULL,
  next_at TIMESTAMP WITH TIME ZONE NOT NULL,
  leased_until TIMESTAMP WITH TIME ZONE,
  code VARCHAR DEFAULT '' NOT NULL,
  sent_at TIMESTAMP WITH TIME ZONE,
  decided_by UUID,
  CONSTRAINT pk_notice_sending PRIMARY KEY (id),
  CONSTRAINT ck_notice_sending_channel CHECK (channel IN ('email', 'webhook')),
  CONSTRAINT ck_notice_sending_account CHECK ((channel = 'email') = (account_id IS NOT NULL)),
  CONSTRAINT ck_notice_sending_webhook CHECK ((channel = 'webhook') = (webhook <> '')),
  CONSTRAINT ck_notice_sending_state CHECK (state IN ('waiting', 'sending', 'handing', 'sent', 'unknown', 'failed')),
  CONSTRAINT ck_notice_sending_lease CHECK ((leased_until IS NOT NULL) = (state IN ('sending', 'handing'))),
  CONSTRAINT ck_notice_sending_sent CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
  CONSTRAINT uq_notice_sending_notice_id_channel_account_id_webhook UNIQUE NULLS NOT DISTINCT (notice_id, channel, account_id, webhook),
  CONSTRAINT fk_notice_sending_notice_id FOREIGN KEY(notice_id) REFERENCES broker.notice (id),
  CONSTRAINT fk_notice_sending_account_id FOREIGN KEY(account_id) REFERENCES broker.account (id),
  CONSTRAINT fk_notice_sending_decided_by FOREIGN KEY(decided_by) REFERENCES broker.account (id)
);
CREATE INDEX ix_notice_sending_open ON broker.notice_sending (next_at) WHERE state IN ('waiting', 'sending', 'handing');
"""

_GRANTS = """
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    GRANT SELECT, INSERT, UPDATE ON broker.notice_sending TO guiyun_app;
  END IF;
END $$
"""
