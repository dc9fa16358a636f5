-- Whose a hold is, how long it counts, whether it may expire and where it is counted stood in its one row, which a superuser, or a
-- dump that was put back, may have otherwise: a date that was put off is capacity that never comes back. All four are now written
-- once more, for the recount alone. Frozen once released; migration 0102_what_holds_became executes it as it stands.

-- Owner and deadline never change: they stand beside the amounts, one element a line of a hold like these.
ALTER TABLE quotas.granted ADD COLUMN owners uuid[], ADD COLUMN deadlines timestamptz[];
UPDATE quotas.granted g SET (owners, deadlines) = (
    SELECT array_agg(h.owner ORDER BY u.nth), array_agg(h.expires_at ORDER BY u.nth)
    FROM unnest(g.holds) WITH ORDINALITY AS u (hold_id, nth) LEFT JOIN quotas.hold h ON h.id = u.hold_id);
ALTER TABLE quotas.granted
    ALTER owners SET NOT NULL, ALTER owners SET STORAGE EXTERNAL,
    ALTER deadlines SET NOT NULL, ALTER deadlines SET STORAGE EXTERNAL;

-- What became of a hold beside the ledger, which has its amounts. It only grows, and the runtime role may read it.
CREATE TABLE quotas.hold_change (
    nth bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_hold_change PRIMARY KEY,
    hold_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    what text NOT NULL CONSTRAINT ck_hold_change_what CHECK (what IN ('pin', 'move')),
    node_id uuid,  -- where it is counted from now on
    CONSTRAINT ck_hold_change_node_id CHECK ((what = 'move') = (node_id IS NOT NULL))
);
INSERT INTO quotas.hold_change (hold_id, what) SELECT id, 'pin' FROM quotas.hold WHERE state = 'pinned';
INSERT INTO quotas.hold_change (hold_id, what, node_id)
SELECT id, 'move', node_id FROM quotas.hold WHERE asked_node_id IS NOT NULL;

REVOKE ALL ON quotas.hold_change FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        REVOKE ALL ON quotas.hold_change FROM guiyun_app;
        GRANT SELECT ON quotas.hold_change TO guiyun_app;
    END IF;
END $$;
