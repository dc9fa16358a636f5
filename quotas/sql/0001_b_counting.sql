-- How limits and stock are counted, set and made. See 0001_a_counters.sql for the locks and who may write.

-- The gate. 1902458740 is 'quot' in ASCII: a class of advisory locks of our own.
CREATE FUNCTION quotas.gate_shared() RETURNS void LANGUAGE sql
SET search_path = quotas, pg_temp AS $$ SELECT pg_advisory_xact_lock_shared(1902458740, 1) $$;

CREATE FUNCTION quotas.gate_exclusive() RETURNS void LANGUAGE sql
SET search_path = quotas, pg_temp AS $$ SELECT pg_advisory_xact_lock(1902458740, 1) $$;


-- Usage of a node and everything below it, summed from rows.
CREATE FUNCTION quotas.recount(p_node uuid, p_class text, p_pool uuid) RETURNS bigint LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT coalesce(sum(l.amount - l.voided - l.released), 0)::bigint
    FROM node n
    JOIN hold h ON h.node_id = n.id
    JOIN hold_line l ON l.hold_id = h.id
    JOIN resource_class c ON c.code = l.resource_class
    WHERE n.path @> ARRAY[p_node]
      AND p_class IN (c.code, c.counts_in)
      AND (p_pool IS NULL OR l.pool_id = p_pool)
$$;


-- Adds amounts (negative: gives back) to every finite limit above the nodes and to the pools' inventory: all or nothing.
-- Returns NULL, or every counter that refuses; then nothing has changed and the caller's transaction is still usable.
CREATE FUNCTION quotas.count_on(p_node uuid[], p_class text[], p_pool uuid[], p_amount bigint[]) RETURNS jsonb
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    r record;
    v_limit bigint;
    v_used bigint;
    v_refused jsonb := '[]';
    v_limit_ids bigint[] := '{}';
    v_limit_deltas bigint[] := '{}';
    v_pools uuid[] := '{}';
    v_classes text[] := '{}';
    v_pool_deltas bigint[] := '{}';
BEGIN
    FOR r IN
        SELECT l.id, l.node_id, l.resource_class, l.pool_id, sum(a.amount)::bigint AS delta,
               min(n.depth - p.nth) AS depth
        FROM unnest(p_node, p_class, p_pool, p_amount) AS a (node_id, resource_class, pool_id, amount)
        JOIN resource_class c ON c.code = a.resource_class
        JOIN node n ON n.id = a.node_id
        CROSS JOIN LATERAL unnest(n.path) WITH ORDINALITY AS p (node_id, nth)
        JOIN node_limit l ON l.node_id = p.node_id
                         AND l.resource_class IN (c.code, c.counts_in)
                         AND (l.pool_id IS NULL OR l.pool_id = a.pool_id)
        GROUP BY l.id
        HAVING sum(a.amount) <> 0
        ORDER BY depth DESC, l.node_id, l.resource_class COLLATE "C", l.pool_id NULLS FIRST
    LOOP
        LOOP
            IF v_refused = '[]' THEN
                UPDATE node_limit SET used = used + r.delta
                WHERE id = r.id AND (r.delta < 0 OR used + r.delta <= limit_amount);
                IF FOUND THEN
                    v_limit_ids := v_limit_ids || r.id;
                    v_limit_deltas := v_limit_deltas || r.delta;
                    EXIT;
                END IF;
            END IF;
            SELECT limit_amount, used INTO v_limit, v_used FROM node_limit WHERE id = r.id;
            IF r.delta > 0 AND v_used + r.delta > v_limit THEN
                v_refused := v_refused || jsonb_build_object('cause', 'limit', 'node_id', r.node_id,
                    'resource_class', r.resource_class, 'pool_id', r.pool_id,
                    'limit', v_limit, 'used', v_used, 'asked', r.delta);
                EXIT;
            END IF;
            -- Room was made between the update and the look: try again, unless the whole is refused already.
            EXIT WHEN v_refused <> '[]';
        END LOOP;
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
        IF r.delta > 0 AND r.absent OR r.off_step THEN
            v_refused := v_refused || jsonb_build_object(
                'cause', CASE WHEN r.absent THEN 'not_offered' ELSE 'step' END, 'node_id', NULL,
                'resource_class', r.resource_class, 'pool_id', r.pool_id,
                'limit', CASE WHEN r.absent THEN 0 ELSE r.step END, 'used', 0, 'asked', r.delta);
            CONTINUE;
        END IF;
        CONTINUE WHEN r.capacity IS NULL;
        LOOP
            IF v_refused = '[]' THEN
                UPDATE inventory SET used = used + r.delta
                WHERE pool_id = r.pool_id AND resource_class = r.resource_class
                  AND (r.delta < 0 OR used + r.delta <= capacity);
                IF FOUND THEN
                    v_pools := v_pools || r.pool_id;
                    v_classes := v_classes || r.resource_class;
                    v_pool_deltas := v_pool_deltas || r.delta;
                    EXIT;
                END IF;
            END IF;
            SELECT capacity, used INTO v_limit, v_used FROM inventory
            WHERE pool_id = r.pool_id AND resource_class = r.resource_class;
            IF r.delta > 0 AND v_used + r.delta > v_limit THEN
                v_refused := v_refused || jsonb_build_object('cause', 'capacity', 'node_id', NULL,
                    'resource_class', r.resource_class, 'pool_id', r.pool_id,
                    'limit', v_limit, 'used', v_used, 'asked', r.delta);
                EXIT;
            END IF;
            EXIT WHEN v_refused <> '[]';
        END LOOP;
    END LOOP;

    IF v_refused = '[]' THEN
        RETURN NULL;
    END IF;
    -- Take back what was counted; these rows are still locked by us. Cheaper than a subtransaction for every hold.
    UPDATE node_limit l SET used = l.used - u.delta
    FROM unnest(v_limit_ids, v_limit_deltas) AS u (id, delta) WHERE l.id = u.id;
    UPDATE inventory i SET used = i.used - u.delta
    FROM unnest(v_pools, v_classes, v_pool_deltas) AS u (pool_id, resource_class, delta)
    WHERE i.pool_id = u.pool_id AND i.resource_class = u.resource_class;
    RETURN v_refused;
END $$;


-- Ends what the given holds (already locked by the caller) still hold: ledger, lines, state. Does not count.
CREATE FUNCTION quotas.close_rest(p_holds uuid[], p_kind text) RETURNS void
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
BEGIN
    INSERT INTO movement (kind, key, resource_class, pool_id, hold_id, amount)
    SELECT p_kind, hold_id, resource_class, pool_id, hold_id, amount - posted - voided
    FROM hold_line WHERE hold_id = ANY (p_holds) AND amount > posted + voided;

    UPDATE hold_line SET voided = amount - posted WHERE hold_id = ANY (p_holds) AND amount > posted + voided;

    UPDATE hold h SET changed_at = clock_timestamp(), state = CASE
        WHEN p_kind = 'expire' THEN 'expired'
        WHEN EXISTS (SELECT FROM hold_line l WHERE l.hold_id = h.id AND l.posted > 0) THEN 'done'
        ELSE 'void' END
    WHERE h.id = ANY (p_holds);
END $$;


CREATE FUNCTION quotas.add_node(p_id uuid, p_parent uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    IF p_parent IS NOT NULL AND NOT EXISTS (SELECT FROM node WHERE id = p_parent) THEN
        RETURN 'no_parent';
    END IF;
    INSERT INTO node (id, parent_id, depth, path)
    SELECT p_id, p_parent, coalesce(p.depth + 1, 0), p_id || coalesce(p.path, '{}')
    FROM (SELECT) AS one LEFT JOIN node p ON p.id = p_parent
    ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND AND (SELECT parent_id FROM node WHERE id = p_id) IS DISTINCT FROM p_parent THEN
        RETURN 'elsewhere';
    END IF;
    RETURN 'ok';
END $$;


CREATE FUNCTION quotas.set_limit(p_node uuid, p_class text, p_pool uuid, p_limit bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM node WHERE id = p_node) THEN
        RETURN 'no_node';
    END IF;
    IF p_limit IS NULL THEN
        PERFORM gate_exclusive();
        DELETE FROM node_limit
        WHERE node_id = p_node AND resource_class = p_class AND pool_id IS NOT DISTINCT FROM p_pool;
        RETURN 'ok';
    END IF;
    UPDATE node_limit SET limit_amount = p_limit
    WHERE node_id = p_node AND resource_class = p_class AND pool_id IS NOT DISTINCT FROM p_pool;
    IF NOT FOUND THEN
        -- From unlimited to finite: nobody may be counting while the counter is made from the rows.
        PERFORM gate_exclusive();
        INSERT INTO node_limit (node_id, resource_class, pool_id, limit_amount, used)
        VALUES (p_node, p_class, p_pool, p_limit, recount(p_node, p_class, p_pool))
        ON CONFLICT ON CONSTRAINT uq_node_limit_node_id_resource_class_pool_id
        DO UPDATE SET limit_amount = excluded.limit_amount;
    END IF;
    RETURN 'ok';
END $$;


CREATE FUNCTION quotas.set_inventory(
    p_pool uuid, p_class text, p_total bigint, p_reserved bigint, p_ratio numeric, p_step bigint
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    UPDATE inventory SET total = p_total, reserved = p_reserved, allocation_ratio = p_ratio, step = p_step
    WHERE pool_id = p_pool AND resource_class = p_class AND (total IS NULL) = (p_total IS NULL);
    IF NOT FOUND THEN
        PERFORM gate_exclusive();
        INSERT INTO inventory (pool_id, resource_class, total, reserved, allocation_ratio, step, used)
        SELECT p_pool, p_class, p_total, p_reserved, p_ratio, p_step,
               CASE WHEN p_total IS NULL THEN 0 ELSE coalesce(sum(amount - voided - released), 0)::bigint END
        FROM hold_line WHERE pool_id = p_pool AND resource_class = p_class
        ON CONFLICT ON CONSTRAINT pk_inventory DO UPDATE
        SET total = excluded.total, reserved = excluded.reserved, allocation_ratio = excluded.allocation_ratio,
            step = excluded.step, used = excluded.used;
    END IF;
END $$;
