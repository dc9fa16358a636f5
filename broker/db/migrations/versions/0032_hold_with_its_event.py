"""A hold by hand and its event in one round trip. The event is committed, unflushed, with the wish before the hold is counted."""

from __future__ import annotations

from alembic import op

revision = "0032_hold_with_its_event"
down_revision = "0070_refused_vnis"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No SET and no SECURITY DEFINER: what is called commits. It writes with the caller's rights.
    op.execute("""
CREATE PROCEDURE broker.hold_together(
    p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[], p_expires_at timestamptz,
    p_event uuid, p_at timestamptz, p_actor uuid, p_data jsonb, INOUT p_answer jsonb
) LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL synchronous_commit = off;  -- until the first commit, which is of the event and the wish
    INSERT INTO broker.audit_event (id, at, actor_id, action, subject_type, subject_id, article, data, trace_id)
    VALUES (p_event, p_at, p_actor, 'quota.hold_asked', 'hold', p_id, '', p_data, '');
    CALL quotas.hold_together(p_id, p_owner, p_node, p_class, p_pool, p_amount, p_expires_at, p_answer);
END $$;
REVOKE ALL ON PROCEDURE broker.hold_together FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        GRANT EXECUTE ON PROCEDURE broker.hold_together TO guiyun_app;
    END IF;
END $$;
""")
