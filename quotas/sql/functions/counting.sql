-- Counting, and what lines may be.

-- Whether lines cannot be what anybody wants: none, one that is not from 1 to 10^15 (values.MAX_AMOUNT), something missing, or
-- a class of a pool twice. NULL for all three arrays, where that means "all there is", is not to be asked.
CREATE OR REPLACE FUNCTION quotas.are_bad(p_class text[], p_pool uuid[], p_amount bigint[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_lines int := cardinality(p_amount);
BEGIN
    IF (v_lines > 0 AND v_lines = cardinality(p_class) AND v_lines = cardinality(p_pool)
        AND 0 < ALL (p_amount) AND 1000000000000000 >= ALL (p_amount)
        AND array_position(p_class, NULL) IS NULL AND array_position(p_pool, NULL) IS NULL) IS NOT TRUE THEN
        RETURN true;
    END IF;
    RETURN v_lines > 1 AND v_lines > (
        SELECT count(DISTINCT (class, pool)) FROM unnest(p_class, p_pool) AS u (class, pool));
END $$;


-- Counter by counter: knows borrowing and names everything that refuses. A resize is one count of the new amounts and the old
-- ones, taken back. Whether an amount is in whole steps is asked of what grows only: after a step was changed, a resize that
-- shrank was refused, and with it the way out of an overage.
CREATE OR REPLACE FUNCTION quotas.count_each(p_node uuid[], p_class text[], p_pool uuid[], p_amount bigint[]) RETURNS jsonb
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    r record;
    v_load bigint;
    v_booked bigint;
    v_asked bigint;
    v_change bigint;
    v_capacity bigint;
    v_used bigint;
    v_refused jsonb := '[]';
    v_ids bigint[] := '{}';
    v_deltas bigint[] := '{}';
    v_bookings bigint[] := '{}';
    v_above bigint[] := '{}';   -- limits above one whose unused guarantee changed ...
    v_changes bigint[] := '{}'; -- ... and by how much
    v_pools uuid[] := '{}';
    v_classes text[] := '{}';
    v_pool_deltas bigint[] := '{}';
BEGIN
    FOR r IN
        SELECT l.id, l.node_id, l.resource_class, l.pool_id, l.used, l.booked, l.ceiling, l.guaranteed, d.delta
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
            HAVING sum(a.amount) <> 0 OR count(DISTINCT a.node_id) > 1
        ) AS d
        JOIN node_limit l ON l.id = d.id
        ORDER BY d.depth DESC, l.node_id, l.resource_class COLLATE "C", l.pool_id NULLS FIRST
        FOR NO KEY UPDATE OF l
    LOOP
        v_booked := 0;
        IF cardinality(v_above) > 0 THEN
            SELECT coalesce(sum(change), 0)::bigint INTO v_booked
            FROM unnest(v_above, v_changes) AS u (id, change) WHERE u.id = r.id;
        END IF;
        v_load := r.used + r.booked;
        v_asked := r.delta + v_booked;
        IF v_asked > 0 AND v_load + v_asked > r.ceiling THEN
            v_refused := v_refused || jsonb_build_object('cause', 'limit', 'node_id', r.node_id,
                'resource_class', r.resource_class, 'pool_id', r.pool_id,
                'limit', r.ceiling, 'used', v_load, 'asked', v_asked);
        END IF;
        IF r.guaranteed > 0 THEN
            v_change := greatest(r.guaranteed - v_load - v_asked, 0) - greatest(r.guaranteed - v_load, 0);
            IF v_change <> 0 THEN
                SELECT v_above || array_agg(id), v_changes || array_agg(v_change) INTO v_above, v_changes
                FROM limits_above(r.node_id, r.resource_class, r.pool_id);
            END IF;
        END IF;
        v_ids := v_ids || r.id;
        v_deltas := v_deltas || r.delta;
        v_bookings := v_bookings || v_booked;
    END LOOP;

    FOR r IN
        SELECT a.pool_id, a.resource_class, sum(a.amount)::bigint AS delta, i.pool_id IS NULL AS absent, i.step,
               i.capacity, bool_or(a.amount > 0 AND a.amount % i.step <> 0) AS off_step
        FROM unnest(p_node, p_class, p_pool, p_amount) AS a (node_id, resource_class, pool_id, amount)
        LEFT JOIN inventory i ON i.pool_id = a.pool_id AND i.resource_class = a.resource_class
        GROUP BY a.pool_id, a.resource_class, i.pool_id, i.step, i.capacity
        HAVING sum(a.amount) <> 0
        ORDER BY a.pool_id, a.resource_class COLLATE "C"
    LOOP
        IF r.delta > 0 AND (r.absent OR r.off_step) THEN
            v_refused := v_refused || jsonb_build_object(
                'cause', CASE WHEN r.absent THEN 'not_offered' ELSE 'step' END, 'node_id', NULL,
                'resource_class', r.resource_class, 'pool_id', r.pool_id,
                'limit', CASE WHEN r.absent THEN 0 ELSE r.step END, 'used', 0, 'asked', r.delta);
            CONTINUE;
        END IF;
        CONTINUE WHEN r.capacity IS NULL;
        SELECT capacity, used INTO v_capacity, v_used FROM inventory
        WHERE pool_id = r.pool_id AND resource_class = r.resource_class FOR NO KEY UPDATE;
        IF r.delta > 0 AND v_used + r.delta > v_capacity THEN
            v_refused := v_refused || jsonb_build_object('cause', 'capacity', 'node_id', NULL,
                'resource_class', r.resource_class, 'pool_id', r.pool_id,
                'limit', v_capacity, 'used', v_used, 'asked', r.delta);
        END IF;
        v_pools := v_pools || r.pool_id;
        v_classes := v_classes || r.resource_class;
        v_pool_deltas := v_pool_deltas || r.delta;
    END LOOP;

    IF v_refused <> '[]' THEN
        RETURN v_refused;
    END IF;
    UPDATE node_limit l SET used = l.used + u.delta, booked = l.booked + u.booking
    FROM unnest(v_ids, v_deltas, v_bookings) AS u (id, delta, booking)
    WHERE l.id = u.id AND (u.delta <> 0 OR u.booking <> 0);
    UPDATE inventory i SET used = i.used + u.delta
    FROM unnest(v_pools, v_classes, v_pool_deltas) AS u (pool_id, resource_class, delta)
    WHERE i.pool_id = u.pool_id AND i.resource_class = u.resource_class;
    RETURN NULL;
END $$;


-- Adds amounts (negative: gives back) to every finite limit above the nodes and to the pools' inventory: all or nothing.
-- Returns NULL, or every counter that refuses; then nothing has changed and the caller's transaction is still usable.
-- Every counter is locked in order before it is judged, so that what is judged is what is written. Where something would
-- refuse, or a guarantee moves what is booked above, nothing was written yet and count_each decides under these locks:
-- it counts on the same rows or on fewer.
CREATE OR REPLACE FUNCTION quotas.count_on(p_node uuid[], p_class text[], p_pool uuid[], p_amount bigint[]) RETURNS jsonb
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
    SELECT bool_or(d.delta > 0 AND (d.absent OR d.off_step)),
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


-- Locks every counter that these lines meet, in count_on's order and before any of them is counted: for whoever counts several
-- holds one after the other in one transaction, whose second leaf would else be locked after the first one's root. Lines of
-- nodes or classes that are unknown meet none.
CREATE OR REPLACE FUNCTION quotas.lock_counters(p_node uuid[], p_class text[], p_pool uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
BEGIN
    PERFORM FROM (
        SELECT l.id, min(n.depth - p.nth) AS depth
        FROM unnest(p_node, p_class, p_pool) AS a (node_id, resource_class, pool_id)
        JOIN resource_class c ON c.code = a.resource_class
        JOIN node n ON n.id = a.node_id
        CROSS JOIN LATERAL unnest(n.path) WITH ORDINALITY AS p (node_id, nth)
        JOIN node_limit l ON l.node_id = p.node_id
                         AND l.resource_class IN (c.code, c.counts_in)
                         AND (l.pool_id IS NULL OR l.pool_id = a.pool_id)
        GROUP BY l.id
    ) AS d
    JOIN node_limit l ON l.id = d.id
    ORDER BY d.depth DESC, l.id
    FOR NO KEY UPDATE OF l;
    PERFORM FROM (SELECT DISTINCT a.pool_id, a.resource_class FROM unnest(p_class, p_pool) AS a (resource_class, pool_id)) AS a
    JOIN inventory i ON i.pool_id = a.pool_id AND i.resource_class = a.resource_class
    WHERE i.capacity IS NOT NULL
    ORDER BY i.pool_id, i.resource_class COLLATE "C"
    FOR NO KEY UPDATE OF i;
END $$;
