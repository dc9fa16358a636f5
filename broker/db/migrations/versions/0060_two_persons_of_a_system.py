"""Who proposes a new system and who approves it are two persons, not two accounts."""

from __future__ import annotations

from alembic import op

revision = "0060_two_persons_of_a_system"
down_revision = "0071_network_rulings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE OF proposed_by, decided_by ON broker.system_proposal
          FOR EACH ROW WHEN (NEW.decided_by IS NOT NULL)
          EXECUTE FUNCTION broker.two_persons('proposed_by', 'decided_by')
    """)
