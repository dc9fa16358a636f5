-- Counting in few statements: what passes plainly is counted for all lines at once, whatever their number.
--
-- Frozen once released, like the files before it; migration 0018_hold_groups executes it as it stands. Why so, with
-- figures: docs/decisions/0006-quotas.md.

-- The functions write a hold with its lines and nothing deletes a hold that has some: the key only cost a query a line.
ALTER TABLE quotas.hold_line DROP CONSTRAINT fk_hold_line_hold_id;

-- PostgreSQL reads the expressions of generated columns anew for every row that an UPDATE writes: a third of its cost.
-- set_limit, which alone changes a limit, writes them now; the check keeps them what they were.
ALTER TABLE quotas.node_limit ALTER COLUMN ceiling DROP EXPRESSION, ALTER COLUMN guaranteed DROP EXPRESSION;
ALTER TABLE quotas.node_limit ADD CONSTRAINT ck_node_limit_ceiling CHECK (
    ceiling = CASE WHEN borrowing_limit IS NULL THEN 9223372036854775807 ELSE limit_amount + borrowing_limit END
    AND guaranteed = greatest(limit_amount - lending_limit, 0)
);

-- The old body, counter by counter: it knows borrowing and names everything that refuses.
ALTER FUNCTION quotas.count_on(uuid[], text[], uuid[], bigint[]) RENAME TO count_each;


-- Adds amounts (negative: gives back) to every finite limit above the nodes and to the pools' inventory: all or nothing.
-- Returns NULL, or every counter that refuses; then nothing has changed and the caller's transaction is still usable.
-- Every counter is locked in order before it is judged, so that what is judged is what is written. Where something would
-- refuse, or a guarantee moves what is booked above, nothing was written yet and count_each decides under these locks:
-- it counts on the same rows or on fewer.
CREATE FUNCTION quotas.count_on(p_node uuid[], p_class text[], p_pool uuid[], p_amount bigint[]) RETURNS jsonb
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_ids bigint[];
    v_deltas bigint[];
    v_pools uuid[];
    v_classes text[];
    v_pool_deltas bigint[];
    v_close boolean;  -- at a limit, or at one with a guarantee
    v_amiss boolean;  -- not offered, not in whole steps, or out of stock
BEGIN
    SELECT array_agg(k.id), array_agg(k.delta),
           bool_or(k.guaranteed > 0 OR k.delta > 0 AND k.used + k.booked + k.delta > k.ceiling)
    INTO v_ids, v_deltas, v_close
    FROM (
        SELECT l.id, l.used, l.booked, l.ceiling, l.guaranteed, d.delta
        FROM (
            SELECT l.id, min(n.depth - p.nth) AS depth, sum(a.amount)::bigint AS delta
            FROM unnest(p_node, p_class, p_pool, p_amount) AS a (node_id, resource_class, pool_id, amount)
            JOIN resource_class c ON c.code = a.resource_class
            JOIN node n ON n.id = a.node_id
            CROSS JOIN LATERAL unnest(n.path) WITH ORDINALITY AS p (node_id, nth)
            JOIN node_limit l ON l.node_id = p.node_id
                             AND l.resource_class IN (c.code, c.counts_in)
                             AND (l.pool_id IS NULL OR l.pool_id = a.pool_id)
            GROUP BY l.id
            -- What moves from one node to another leaves the sum above both, and may still change what is booked there.
            HAVING sum(a.amount) <> 0 OR min(a.amount) < 0
        ) AS d
        JOIN node_limit l ON l.id = d.id
        ORDER BY d.depth DESC, l.id
        FOR NO KEY UPDATE OF l
    ) AS k;

    -- Stock without a bound is looked at and not locked: nobody queues for it.
    SELECT bool_or(d.delta > 0 AND d.absent OR d.off_step),
           array_agg(d.pool_id) FILTER (WHERE d.capacity IS NOT NULL),
           array_agg(d.resource_class) FILTER (WHERE d.capacity IS NOT NULL),
           array_agg(d.delta) FILTER (WHERE d.capacity IS NOT NULL)
    INTO v_amiss, v_pools, v_classes, v_pool_deltas
    FROM (
        SELECT a.pool_id, a.resource_class, sum(a.amount)::bigint AS delta, i.pool_id IS NULL AS absent, i.capacity,
               bool_or(a.amount > 0 AND a.amount % i.step <> 0) AS off_step
        FROM unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
        LEFT JOIN inventory i ON i.pool_id = a.pool_id AND i.resource_class = a.resource_class
        GROUP BY a.pool_id, a.resource_class, i.pool_id, i.step, i.capacity
        HAVING sum(a.amount) <> 0
    ) AS d;
    IF v_pools IS NOT NULL THEN
        SELECT v_amiss OR bool_or(k.delta > 0 AND k.used + k.delta > k.capacity) INTO v_amiss
        FROM (
            SELECT i.used, i.capacity, u.delta
            FROM unnest(v_pools, v_classes, v_pool_deltas) AS u (pool_id, resource_class, delta)
            JOIN inventory i ON i.pool_id = u.pool_id AND i.resource_class = u.resource_class
            ORDER BY i.pool_id, i.resource_class COLLATE "C"
            FOR NO KEY UPDATE OF i
        ) AS k;
    END IF;
    IF v_close OR v_amiss THEN
        RETURN count_each(p_node, p_class, p_pool, p_amount);
    END IF;

    UPDATE node_limit l SET used = l.used + u.delta
    FROM unnest(v_ids, v_deltas) AS u (id, delta) WHERE l.id = u.id AND u.delta <> 0;
    IF v_pools IS NOT NULL THEN
        UPDATE inventory i SET used = i.used + u.delta
        FROM unnest(v_pools, v_classes, v_pool_deltas) AS u (pool_id, resource_class, delta)
        WHERE i.pool_id = u.pool_id AND i.resource_class = u.resource_class;
    END IF;
    RETURN NULL;
END $$;


-- Sets, changes or (p_limit NULL) removes a limit. A limit may be set below what is used: an overage. Not so where
-- something below is guaranteed: then it must cover what is used and booked, or growth inside a guarantee would pass it.
-- Outcomes: ok, no_node, no_lender (a root has nobody to borrow from), not_covered (with the limit that would not cover).
CREATE OR REPLACE FUNCTION quotas.set_limit(
    p_node uuid, p_class text, p_pool uuid, p_limit bigint, p_borrowing bigint, p_lending bigint
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    r record;
    v_old node_limit;
    v_used bigint;
    v_booked bigint;
    v_change bigint;
    v_below bigint;
    v_ids bigint[] := '{}';
    v_changes bigint[] := '{}';
    v_ceiling bigint := coalesce(p_limit + p_borrowing, 9223372036854775807);
    v_guaranteed bigint := greatest(p_limit - p_lending, 0);  -- ignores NULL: who lends all is guaranteed nothing
BEGIN
    IF NOT EXISTS (SELECT FROM node WHERE id = p_node) THEN
        RETURN jsonb_build_object('outcome', 'no_node');
    ELSIF p_borrowing IS DISTINCT FROM 0 AND p_limit IS NOT NULL
          AND (SELECT parent_id IS NULL FROM node WHERE id = p_node) THEN
        RETURN jsonb_build_object('outcome', 'no_lender');
    END IF;
    IF p_lending IS NULL THEN
        -- The usual case: nothing is guaranteed here, before or after, so that nothing changes above.
        UPDATE node_limit SET limit_amount = p_limit, borrowing_limit = p_borrowing, ceiling = v_ceiling
        WHERE node_id = p_node AND resource_class = p_class AND pool_id IS NOT DISTINCT FROM p_pool
          AND p_limit IS NOT NULL AND lending_limit IS NULL
          AND (v_ceiling >= used + booked OR NOT guarantees_below(p_node, p_class, p_pool));
        IF FOUND THEN
            RETURN jsonb_build_object('outcome', 'ok');
        END IF;
    END IF;

    -- A counter comes or goes, or what is guaranteed changes: nobody may be half-way through a count.
    PERFORM gate_exclusive();
    SELECT * INTO v_old FROM node_limit
    WHERE node_id = p_node AND resource_class = p_class AND pool_id IS NOT DISTINCT FROM p_pool;
    v_used := coalesce(v_old.used, recount(p_node, p_class, p_pool));
    v_booked := coalesce(v_old.booked, booked_below(p_node, p_class, p_pool));
    IF v_ceiling < v_used + v_booked AND guarantees_below(p_node, p_class, p_pool) THEN
        RETURN jsonb_build_object('outcome', 'not_covered', 'node_id', p_node, 'limit', v_ceiling,
                                  'needed', v_used + v_booked);
    END IF;
    v_change := greatest(v_guaranteed - v_used - v_booked, 0)
              - greatest(coalesce(v_old.guaranteed, 0) - v_used - v_booked, 0);
    FOR r IN SELECT * FROM limits_above(p_node, p_class, p_pool) LOOP
        IF v_guaranteed > coalesce(v_old.guaranteed, 0) AND r.used + r.booked + v_change > r.ceiling THEN
            RETURN jsonb_build_object('outcome', 'not_covered', 'node_id', r.node_id, 'limit', r.ceiling,
                                      'needed', r.used + r.booked + v_change);
        END IF;
        v_ids := v_ids || r.id;
        v_changes := v_changes || v_change;
        v_below := greatest(r.guaranteed - r.used - r.booked, 0);
        v_change := v_change + greatest(r.guaranteed - r.used - r.booked - v_change, 0) - v_below;
    END LOOP;

    UPDATE node_limit l SET booked = l.booked + u.change
    FROM unnest(v_ids, v_changes) AS u (id, change) WHERE l.id = u.id AND u.change <> 0;
    IF p_limit IS NULL THEN
        DELETE FROM node_limit WHERE id = v_old.id;
    ELSIF v_old.id IS NULL THEN
        INSERT INTO node_limit (node_id, resource_class, pool_id, limit_amount, borrowing_limit, lending_limit, used, booked,
                                ceiling, guaranteed)
        VALUES (p_node, p_class, p_pool, p_limit, p_borrowing, p_lending, v_used, v_booked, v_ceiling, v_guaranteed);
    ELSE
        UPDATE node_limit SET limit_amount = p_limit, borrowing_limit = p_borrowing, lending_limit = p_lending,
                              ceiling = v_ceiling, guaranteed = v_guaranteed
        WHERE id = v_old.id;
    END IF;
    RETURN jsonb_build_object('outcome', 'ok');
END $$;
