"""A hold by hand with its events in one round trip: that it was asked for, and why it was not granted.

The first is committed, unflushed, with the wish before the hold is counted; the second after whoever shared the commit
has his answer.
"""

from __future__ import annotations

from alembic import op

revision = "0080_hold_with_its_events"
down_revision = "0060_two_persons_of_a_system"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No SET and no SECURITY DEFINER: what is called commits. It writes with the caller's rights.
    op.execute("""
DROP PROCEDURE IF EXISTS broker.hold_together;
CREATE PROCEDURE broker.hold_together(
    p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[], p_expires_at timestamptz,
    p_event uuid, p_at timestamptz, p_actor uuid, p_data jsonb,
    p_refused uuid,  -- the second event's
    INOUT p_answer jsonb
) LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL synchronous_commit = off;  -- until the first commit, which is of the event and the wish
    INSERT INTO broker.audit_event (id, at, actor_id, action, subject_type, subject_id, article, data, trace_id)
    VALUES (p_event, p_at, p_actor, 'quota.hold_asked', 'hold', p_id, '', p_data, '');
    CALL quotas.hold_together(p_id, p_owner, p_node, p_class, p_pool, p_amount, p_expires_at, p_answer);
    IF p_answer ->> 'outcome' NOT IN ('ok', 'failed') THEN  -- what failed is asked again by itself
        COMMIT;  -- the others of the group do not wait for what is told of this one
        INSERT INTO broker.audit_event (id, at, actor_id, action, subject_type, subject_id, article, data, trace_id)
        VALUES (p_refused, p_at, p_actor, 'quota.hold_refused', 'hold', p_id, '',
                p_data - CAST('{owner,node,lines,expires_at}' AS text[]) || jsonb_build_object(
                    'refused', coalesce(p_answer -> 'refused', '[]'), 'code', CASE p_answer ->> 'outcome'
                        WHEN 'refused' THEN 'quota.exceeded' WHEN 'no_node' THEN 'quota.unknown_node'
                        WHEN 'conflict' THEN 'hold.conflict' WHEN 'gone' THEN 'hold.gone' ELSE 'quota.bad_amount' END), '');
    END IF;
END $$;
REVOKE ALL ON PROCEDURE broker.hold_together FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        GRANT EXECUTE ON PROCEDURE broker.hold_together TO guiyun_app;
    END IF;
END $$;
""")
