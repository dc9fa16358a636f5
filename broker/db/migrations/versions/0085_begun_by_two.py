"""The books begin where two people agreed they do: the database refuses a beginning that nobody agreed to."""

from __future__ import annotations

from alembic import op

revision = "0085_begun_by_two"
down_revision = "0090_calendars_in_use"
branch_labels = None
depends_on = None

_SQL = """
CREATE FUNCTION broker.begun_by_two() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM books_proposal WHERE month = NEW.month AND decision = 'agreed') THEN
        RAISE EXCEPTION 'nobody agreed that the books begin there'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'begun_by_two';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER begun_two BEFORE INSERT OR UPDATE ON broker.books_beginning
    FOR EACH ROW EXECUTE FUNCTION broker.begun_by_two();
"""


def upgrade() -> None:
    op.execute(_SQL)
