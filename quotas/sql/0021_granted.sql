-- What was granted is written twice: as lines that change, and once more as it was granted, for the recount alone. A hold that
-- was raised, sent elsewhere or deleted was seen only where something finite had counted it. Frozen once released, like the
-- files before it; migration 0021_granted executes it as it stands.
--
-- One row a counting transaction and no index: who shares a commit shares the row (of 7 holds; 3 microseconds each). It only
-- grows, as the ledger does, and the runtime role may read it.
CREATE TABLE quotas.granted (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- one element a line of a hold
    holds uuid[] NOT NULL,
    nodes uuid[] NOT NULL,
    classes text[] NOT NULL,
    pools uuid[] NOT NULL,
    amounts bigint[] NOT NULL
);
-- Ids do not get smaller by being packed.
ALTER TABLE quotas.granted
    ALTER holds SET STORAGE EXTERNAL, ALTER nodes SET STORAGE EXTERNAL, ALTER classes SET STORAGE EXTERNAL,
    ALTER pools SET STORAGE EXTERNAL, ALTER amounts SET STORAGE EXTERNAL;

INSERT INTO quotas.granted (at, holds, nodes, classes, pools, amounts)
SELECT min(created_at), array_agg(id), array_agg(node_id), array_agg(resource_class), array_agg(pool_id), array_agg(amount)
FROM (SELECT h.created_at, h.id, h.node_id, l.resource_class, l.pool_id, l.amount, row_number() OVER (ORDER BY h.id) / 100 AS part
      FROM quotas.hold h JOIN quotas.hold_line l ON l.hold_id = h.id) AS line
GROUP BY part;

-- Where a hold was asked at, once it was moved to another node; NULL: where it is.
ALTER TABLE quotas.hold ADD COLUMN asked_node_id uuid;

-- The runtime role could write wishes, and so answers, and amounts that no hold may have; now only wish_for writes one.
REVOKE ALL ON quotas.granted FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        REVOKE ALL ON quotas.granted FROM guiyun_app;
        GRANT SELECT ON quotas.granted TO guiyun_app;
        REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON quotas.wish FROM guiyun_app;
    END IF;
END $$;

-- These answer otherwise from now on, which CREATE OR REPLACE cannot do: they come back from quotas/sql/functions.
DROP FUNCTION quotas.wish_for(uuid, uuid, uuid, text[], uuid[], bigint[], timestamptz);
DROP FUNCTION quotas.verify();
DROP FUNCTION quotas.taken_until(quotas.prefix_wish, bigint);
DROP FUNCTION quotas.place_in_gaps(quotas.prefix_wish, bigint, bigint);
DROP FUNCTION quotas.sweep(timestamptz, int);
