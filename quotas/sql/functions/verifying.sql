-- The recount.

-- Every number that differs when it is counted again from the rows it stands for, every hold that is not as it was granted, and
-- every row that stands for nothing; one statement, one snapshot.
CREATE OR REPLACE FUNCTION quotas.verify() RETURNS TABLE (what text, id text, kept text, recounted text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = quotas, pg_temp SET timezone = 'UTC' AS $$
    WITH RECURSIVE way AS (
        SELECT n.id, ARRAY[n.id] AS path FROM node n WHERE n.parent_id IS NULL
        UNION ALL
        SELECT n.id, n.id || w.path FROM node n JOIN way w ON w.id = n.parent_id
    ), on_pool AS (
        SELECT pool_id, resource_class, sum(amount - voided - released) AS used FROM hold_line GROUP BY 1, 2
    ), moved AS (
        SELECT hold_id, resource_class, pool_id,
               coalesce(sum(amount) FILTER (WHERE kind = 'post'), 0) AS posted,
               coalesce(sum(amount) FILTER (WHERE kind IN ('void', 'expire')), 0) AS voided,
               coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0) AS released
        FROM movement GROUP BY 1, 2, 3
    ), line AS (
        SELECT g.* FROM granted
        CROSS JOIN LATERAL unnest(holds, nodes, classes, pools, amounts, owners, deadlines)
            AS g (hold_id, node_id, resource_class, pool_id, amount, owner, expires_at)
    ), given AS (
        SELECT hold_id, resource_class, pool_id, sum(amount) AS amount FROM line GROUP BY 1, 2, 3
    ), asked AS (
        SELECT DISTINCT hold_id, node_id, owner, expires_at FROM line
    ), sent AS (
        SELECT DISTINCT ON (hold_id) hold_id, node_id FROM hold_change WHERE what = 'move' ORDER BY hold_id, nth DESC
    )
    SELECT f.name, concat_ws('/', l.node_id, l.resource_class, l.pool_id), f.kept::text, f.recounted::text
    FROM node_limit l JOIN recounted_limits() AS o ON o.limit_id = l.id
    CROSS JOIN LATERAL (VALUES ('node_limit', l.used, o.used), ('node_limit.booked', l.booked, o.booked))
        AS f (name, kept, recounted)
    WHERE f.kept <> f.recounted
    UNION ALL
    -- A limit may stand below what is used, but not where something below it is guaranteed.
    SELECT 'node_limit.ceiling', concat_ws('/', l.node_id, l.resource_class, l.pool_id), (l.used + l.booked)::text, l.ceiling::text
    FROM node_limit l
    WHERE l.used + l.booked > l.ceiling AND guarantees_below(l.node_id, l.resource_class, l.pool_id)
    UNION ALL
    SELECT 'inventory', concat_ws('/', i.pool_id, i.resource_class), i.used::text, o.used::text
    FROM inventory i
    LEFT JOIN on_pool p USING (pool_id, resource_class)
    CROSS JOIN LATERAL (SELECT CASE WHEN i.total IS NULL THEN 0 ELSE coalesce(p.used, 0) END AS used) AS o
    WHERE i.used <> o.used
    UNION ALL
    -- Each side may be missing: a line without movements is new, movements without a line are of one that was deleted.
    SELECT 'hold_line.' || f.name, concat_ws('/', hold_id, resource_class, pool_id), f.kept::text, f.recounted::text
    FROM hold_line l
    FULL JOIN moved m USING (hold_id, resource_class, pool_id)
    CROSS JOIN LATERAL (VALUES ('posted', coalesce(l.posted, 0), coalesce(m.posted, 0)),
                               ('voided', coalesce(l.voided, 0), coalesce(m.voided, 0)),
                               ('released', coalesce(l.released, 0), coalesce(m.released, 0))) AS f (name, kept, recounted)
    WHERE f.kept <> f.recounted
    UNION ALL
    -- Each hold as it was granted, nothing else, and none missing: also where no limit counts it. Whose it is, until when it
    -- counts and where it went since, too.
    SELECT 'hold_line.amount', concat_ws('/', hold_id, resource_class, pool_id),
           coalesce(l.amount, 0)::text, coalesce(g.amount, 0)::text
    FROM hold_line l FULL JOIN given g USING (hold_id, resource_class, pool_id)
    WHERE coalesce(l.amount, 0) <> coalesce(g.amount, 0)
    UNION ALL
    SELECT f.name, h.id::text, coalesce(f.kept, ''), coalesce(f.recounted, '')
    FROM hold h
    JOIN asked a ON a.hold_id = h.id
    LEFT JOIN sent s ON s.hold_id = h.id
    CROSS JOIN LATERAL (VALUES
        ('hold.owner', h.owner::text, a.owner::text),
        ('hold.expires_at', h.expires_at::text, a.expires_at::text),
        ('hold.node', h.node_id::text, coalesce(s.node_id, a.node_id)::text),
        ('hold.asked_node', h.asked_node_id::text, CASE WHEN s.node_id IS NOT NULL THEN a.node_id::text END)
    ) AS f (name, kept, recounted)
    WHERE ((h.owner, h.expires_at, h.node_id) <> (a.owner, a.expires_at, coalesce(s.node_id, a.node_id))
           OR h.asked_node_id IS DISTINCT FROM CASE WHEN s.node_id IS NOT NULL THEN a.node_id END)
      AND f.kept IS DISTINCT FROM f.recounted
    UNION ALL
    -- What delivery has begun with does not expire; everything else does.
    SELECT 'hold.pinned', h.id::text, h.state, CASE WHEN p.hold_id IS NULL THEN 'held' ELSE 'pinned' END
    FROM hold h LEFT JOIN (SELECT DISTINCT hold_id FROM hold_change WHERE what = 'pin') AS p ON p.hold_id = h.id
    WHERE h.state = 'pinned' AND p.hold_id IS NULL OR h.state IN ('held', 'expired') AND p.hold_id IS NOT NULL
    UNION ALL
    SELECT 'hold_line.without_hold', concat_ws('/', l.hold_id, l.resource_class, l.pool_id),
           (l.amount - l.voided - l.released)::text, '0'
    FROM hold_line l WHERE NOT EXISTS (SELECT FROM hold h WHERE h.id = l.hold_id)
    UNION ALL
    SELECT 'hold_line.without_class', concat_ws('/', l.hold_id, l.resource_class, l.pool_id),
           (l.amount - l.voided - l.released)::text, '0'
    FROM hold_line l WHERE NOT EXISTS (SELECT FROM resource_class c WHERE c.code = l.resource_class)
    UNION ALL
    SELECT 'hold.without_lines', h.id::text, h.state, ''
    FROM hold h WHERE NOT EXISTS (SELECT FROM hold_line l WHERE l.hold_id = h.id)
    UNION ALL
    SELECT 'hold.without_node', h.id::text, h.node_id::text, ''
    FROM hold h WHERE NOT EXISTS (SELECT FROM node n WHERE n.id = h.node_id)
    UNION ALL
    -- An open hold holds something, a closed one nothing; done has posted something, void has not.
    SELECT 'hold.state', concat_ws('/', h.id, h.state), o.held::text, '0'
    FROM hold h
    CROSS JOIN LATERAL (SELECT coalesce(sum(amount - posted - voided), 0) AS held, coalesce(sum(posted), 0) AS posted
                        FROM hold_line WHERE hold_id = h.id HAVING count(*) > 0) AS o
    WHERE (h.state IN ('held', 'pinned')) <> (o.held > 0)
       OR h.state = 'void' AND o.posted > 0 OR h.state = 'done' AND o.posted = 0
    UNION ALL
    -- What a hold counts on follows the path; a node that no root reaches has none.
    SELECT 'node.path', n.id::text, array_to_string(n.path, '/'), coalesce(array_to_string(w.path, '/'), '')
    FROM node n LEFT JOIN way w ON w.id = n.id
    WHERE n.path IS DISTINCT FROM w.path
    UNION ALL
    -- What is held or used stands on stock that is offered: nothing else could have been held.
    SELECT 'hold_line.without_stock', concat_ws('/', l.hold_id, l.resource_class, l.pool_id),
           (l.amount - l.voided - l.released)::text, '0'
    FROM hold_line l
    WHERE l.amount > l.voided + l.released
      AND NOT EXISTS (SELECT FROM inventory i WHERE (i.pool_id, i.resource_class) = (l.pool_id, l.resource_class))
    UNION ALL
    SELECT 'unguarded', w.name, 'the constraint is missing or not valid', ''
    FROM unnest(ARRAY['ck_node_limit_used', 'ck_node_limit_ceiling', 'ck_node_limit_booked', 'ck_inventory_used',
                      'ck_hold_line_amount', 'ck_hold_line_balance', 'ck_movement_amount', 'pk_hold', 'pk_hold_line',
                      'pk_movement', 'pk_inventory', 'uq_node_limit_node_id_resource_class_pool_id']) AS w (name)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c
                      WHERE c.conname = w.name AND c.connamespace = 'quotas'::regnamespace AND c.convalidated)
    ORDER BY 1, 2
$$;
