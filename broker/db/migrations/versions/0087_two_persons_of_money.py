"""Whoever of the books, of a dispute or of a network's end says the second word is another person, not another account."""

from __future__ import annotations

from alembic import op

revision = "0087_two_persons_of_money"
down_revision = "0086_statement_sums"
branch_labels = None
depends_on = None

_PAIRS = (
    ("month_reopening", "asked_by", "agreed_by", "NEW.agreed_by IS NOT NULL"),
    ("books_proposal", "asked_by", "decided_by", "NEW.decision = 'agreed'"),
    ("adjustment_proposal", "proposed_by", "decided_by", "NEW.decision = 'confirmed'"),
    ("dispute", "raised_by", "answered_by", "NEW.answered_by IS NOT NULL"),
    ("network_closing", "proposed_by", "decided_by", "NEW.decided_by IS NOT NULL"),
    ("network_step", "done_by", "confirmed_by", "NEW.confirmed_by IS NOT NULL"),
)


def upgrade() -> None:
    for table, one, other, when in _PAIRS:
        op.execute(f"""
            CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE ON broker.{table}
              FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION broker.two_persons('{one}', '{other}')
        """)
