"""A case keeps the policy it was opened by; two people are two persons; nothing is released before its time is over."""

from __future__ import annotations

from alembic import op

revision = "0026_reclaim_guards"
down_revision = "0021_granted"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_RULES)


# Two accounts may be one person's: a foreign key cannot say so, a CHECK may not look at other tables. What was decided
# before stays: the triggers look at what is written from now on.
_RULES = """
ALTER TABLE broker.reclaim_case ADD COLUMN policy_content JSONB DEFAULT '{}' NOT NULL;
ALTER TABLE broker.reclaim_case ADD CONSTRAINT ck_reclaim_case_kept
  CHECK (state NOT IN ('releasing', 'released') OR confirmed_at >= keep_until);
ALTER TABLE broker.release ADD CONSTRAINT ck_release_two_people CHECK (confirmed_by <> asked_by);
ALTER TABLE broker.release ADD CONSTRAINT ck_release_confirmed
  CHECK (state IN ('asked', 'declined') OR num_nonnulls(confirmed_by, confirmed_at) = 2);

CREATE FUNCTION broker.two_persons() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
DECLARE
  one uuid := (to_jsonb(NEW) ->> TG_ARGV[0])::uuid;
  other uuid := (to_jsonb(NEW) ->> TG_ARGV[1])::uuid;
BEGIN
  IF EXISTS (SELECT FROM account a JOIN account b ON b.person_id = a.person_id WHERE a.id = one AND b.id = other) THEN
    RAISE EXCEPTION '% and % of % are one person', TG_ARGV[0], TG_ARGV[1], TG_TABLE_NAME
      USING ERRCODE = 'check_violation', CONSTRAINT = 'two_persons', TABLE = TG_TABLE_NAME;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE OF proposed_by, confirmed_by ON broker.reclaim_case
  FOR EACH ROW WHEN (NEW.proposed_by IS NOT NULL AND NEW.confirmed_by IS NOT NULL)
  EXECUTE FUNCTION broker.two_persons('proposed_by', 'confirmed_by');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE OF raised_by, answered_by ON broker.reclaim_objection
  FOR EACH ROW WHEN (NEW.answered_by IS NOT NULL) EXECUTE FUNCTION broker.two_persons('raised_by', 'answered_by');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE OF asked_by, confirmed_by ON broker.release
  FOR EACH ROW WHEN (NEW.confirmed_by IS NOT NULL) EXECUTE FUNCTION broker.two_persons('asked_by', 'confirmed_by');
"""
