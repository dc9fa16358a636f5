"""An operator's word for what nobody measures ends, and an answer to an objection is due on a date."""

from __future__ import annotations

from alembic import op

revision = "0055_words_that_end"
down_revision = "0042_cases_with_owners"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_COLUMNS)


# Of what was said before: a word is as old as its act, an answer is due in a week.
_COLUMNS = """
ALTER TABLE broker.reclaim_case ADD COLUMN waived_at TIMESTAMP WITH TIME ZONE;
UPDATE broker.reclaim_case c SET waived_at = coalesce(
  (SELECT max(a.at) FROM broker.reclaim_act a WHERE a.case_id = c.id AND a.event = 'waive'), c.opened_at)
WHERE c.waived_by IS NOT NULL;
ALTER TABLE broker.reclaim_case ADD CONSTRAINT ck_reclaim_case_waived
  CHECK ((waived_by IS NULL) = (waived_at IS NULL));
ALTER TABLE broker.reclaim_objection ADD COLUMN due_at TIMESTAMP WITH TIME ZONE;
UPDATE broker.reclaim_objection SET due_at = raised_at + interval '7 days';
ALTER TABLE broker.reclaim_objection ALTER COLUMN due_at SET NOT NULL;
"""
