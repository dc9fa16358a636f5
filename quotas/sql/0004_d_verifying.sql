-- Recounting the plan, and what the runtime role may do with what 0004 adds.

-- Whatever the constraints should make impossible, looked for all the same; one statement, one snapshot. That the
-- constraints themselves are there is part of it.
CREATE OR REPLACE FUNCTION quotas.verify_prefixes() RETURNS TABLE (what text, id text, detail text) LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
    WITH live AS (
        SELECT * FROM prefix_allocation WHERE state IN ('held', 'active', 'quarantined', 'reserved')
    ), in_order AS (
        -- Ordered by address, a prefix that overlaps any earlier one begins before the furthest end seen so far.
        SELECT a.id, a.prefix,
               max(broadcast(a.prefix)) OVER (PARTITION BY a.domain_id ORDER BY network(a.prefix), masklen(a.prefix)
                                              ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS furthest
        FROM live a
    )
    SELECT 'overlap', o.id::text, o.prefix::text FROM in_order o WHERE host(o.prefix)::inet <= host(o.furthest)::inet
    UNION ALL
    SELECT 'outside_pool', a.id::text, a.prefix::text
    FROM live a LEFT JOIN prefix_pool p
      ON p.id = a.pool_id AND p.domain_id = a.domain_id AND (p.hands_out OR a.state = 'reserved')
    WHERE p.id IS NULL OR NOT a.prefix <<= p.prefix
    UNION ALL
    SELECT 'misplaced', a.id::text, a.prefix::text
    FROM live a JOIN prefix_pool p ON p.id = a.pool_id
    WHERE a.count_64 <> 1::bigint << (64 - masklen(a.prefix))
       OR a.prefix <> prefix_at(p.prefix, masklen(a.prefix), a.first_64)
    UNION ALL
    SELECT 'owner_twice', a.owner::text, string_agg(a.prefix::text, ' ' ORDER BY a.prefix)
    FROM live a WHERE a.state <> 'quarantined' GROUP BY a.owner HAVING count(*) > 1
    UNION ALL
    SELECT 'pool_outside_parent', c.id::text, c.prefix::text
    FROM prefix_pool c JOIN prefix_pool p ON p.id = c.parent_id
    WHERE NOT c.prefix << p.prefix OR c.domain_id <> p.domain_id OR c.depth <> p.depth + 1 OR p.hands_out
    UNION ALL
    SELECT 'pool_overlap', c.id::text, c.prefix::text || ' ' || o.prefix::text
    FROM prefix_pool c JOIN prefix_pool o ON o.domain_id = c.domain_id AND o.depth = c.depth AND o.id > c.id
     AND o.prefix && c.prefix
    UNION ALL
    SELECT 'space_shared', c.id::text, c.prefix::text || ' ' || o.prefix::text
    FROM prefix_pool c JOIN prefix_pool o ON o.depth = 0 AND o.id > c.id AND o.prefix && c.prefix
    JOIN routing_domain d ON d.id = c.domain_id JOIN routing_domain e ON e.id = o.domain_id
    WHERE c.depth = 0 AND NOT (d.zone = 'private' AND e.zone = 'private' AND d.id <> e.id
                               AND c.prefix <<= 'fc00::/7' AND o.prefix <<= 'fc00::/7')
    UNION ALL
    SELECT 'cursor', k.pool_id::text || '/' || k.length || '/' || k.shard, k.next || ' of ' || k.size
    FROM prefix_cursor k LEFT JOIN prefix_pool p ON p.id = k.pool_id AND p.hands_out
    WHERE p.id IS NULL OR k.next NOT BETWEEN 0 AND k.size
       OR k.size <> 1::bigint << (k.length - masklen(p.prefix) - least(4, k.length - masklen(p.prefix)))
    UNION ALL
    SELECT 'unguarded', w.name, 'the constraint or index is missing or not valid'
    FROM unnest(ARRAY['ex_prefix_allocation_overlap', 'uq_prefix_allocation_owner', 'ex_prefix_pool_overlap',
                      'ex_prefix_pool_space']) AS w (name)
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'quotas' AND c.relname = w.name AND i.indisvalid AND i.indisready)
    ORDER BY 1, 2
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA quotas FROM PUBLIC;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        RETURN;  -- a database with a single role
    END IF;
    -- The owner's default privileges may have given more to what was made here.
    REVOKE ALL ON FUNCTION
        quotas.slot, quotas.place, quotas.place_guarded, quotas.has_prefix, quotas.place_untouched, quotas.place_freed,
        quotas.place_in_gaps, quotas.place_together, quotas.largest_gap, quotas.find_place,
        quotas.again, quotas.what_fits, quotas.in_the_way, quotas.take_place, quotas.place_of, quotas.is_reserved
    FROM guiyun_app;
    GRANT EXECUTE ON FUNCTION
        quotas.allocate, quotas.allocate_many, quotas.give_back, quotas.grow, quotas.reserve, quotas.lift,
        quotas.take_over, quotas.verify_prefixes
    TO guiyun_app;
END $$;
