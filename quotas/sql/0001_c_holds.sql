-- The life of a hold, and the recount. See 0001_a_counters.sql for the locks and who may write.

-- One call, one round trip. With p_replaces only the difference to what that hold still holds is asked for.
CREATE FUNCTION quotas.hold(
    p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[],
    p_expires_at timestamptz, p_replaces uuid
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_old hold;
    v_nodes uuid[] := array_fill(p_node, ARRAY[cardinality(p_class)]);
    v_classes text[] := p_class;
    v_pools uuid[] := p_pool;
    v_amounts bigint[] := p_amount;
    v_refused jsonb;
    r record;
BEGIN
    PERFORM gate_shared();
    IF NOT EXISTS (SELECT FROM node WHERE id = p_node) THEN
        RETURN jsonb_build_object('outcome', 'no_node');
    END IF;
    INSERT INTO hold (id, owner, node_id, state, expires_at)
    VALUES (p_id, p_owner, p_node, 'held', p_expires_at) ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', CASE WHEN same THEN 'ok' ELSE 'conflict' END) FROM (
            SELECT (SELECT (owner, node_id) = (p_owner, p_node) FROM hold WHERE id = p_id) AND NOT EXISTS (
                SELECT FROM (SELECT resource_class, pool_id, amount FROM hold_line WHERE hold_id = p_id) l
                FULL JOIN unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
                    USING (resource_class, pool_id, amount)
                WHERE l IS NULL OR a IS NULL) AS same) AS compared;
    END IF;
    IF p_replaces IS NOT NULL THEN
        SELECT * INTO v_old FROM hold WHERE id = p_replaces FOR UPDATE;
        IF v_old.id IS NULL OR v_old.owner <> p_owner THEN
            DELETE FROM hold WHERE id = p_id;
            RETURN jsonb_build_object('outcome', CASE WHEN v_old.id IS NULL THEN 'unknown' ELSE 'not_yours' END);
        END IF;
        FOR r IN SELECT resource_class, pool_id, posted + voided - amount AS delta FROM hold_line
                 WHERE hold_id = p_replaces AND amount > posted + voided LOOP
            v_nodes := v_nodes || v_old.node_id;
            v_classes := v_classes || r.resource_class;
            v_pools := v_pools || r.pool_id;
            v_amounts := v_amounts || r.delta;
        END LOOP;
    END IF;

    v_refused := count_on(v_nodes, v_classes, v_pools, v_amounts);
    IF v_refused IS NOT NULL THEN
        DELETE FROM hold WHERE id = p_id;
        RETURN jsonb_build_object('outcome', 'refused', 'refused', v_refused);
    END IF;
    INSERT INTO hold_line (hold_id, resource_class, pool_id, amount)
    SELECT p_id, a.* FROM unnest(p_class, p_pool, p_amount) AS a;
    IF v_old.state IN ('held', 'pinned') THEN
        PERFORM close_rest(ARRAY[p_replaces], 'void');
    END IF;
    RETURN jsonb_build_object('outcome', 'ok');
END $$;


-- Returns 'ok', or the state that forbids it ('overdue' for a due hold that no sweep has met yet).
CREATE FUNCTION quotas.pin(p_hold uuid, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_state text;
BEGIN
    UPDATE hold SET state = 'pinned', changed_at = clock_timestamp()
    WHERE id = p_hold AND state = 'held' AND expires_at > coalesce(p_now, clock_timestamp());
    IF FOUND THEN
        RETURN 'ok';
    END IF;
    SELECT state INTO v_state FROM hold WHERE id = p_hold;
    RETURN CASE v_state WHEN 'pinned' THEN 'ok' WHEN 'done' THEN 'ok' WHEN 'held' THEN 'overdue'
           ELSE coalesce(v_state, 'unknown') END;
END $$;


-- Was this key used? 'no', 'same' (the same call again) or 'other' (another hold or other lines).
CREATE FUNCTION quotas.key_use(
    p_kind text, p_key uuid, p_hold uuid, p_class text[], p_pool uuid[], p_amount bigint[]
) RETURNS text LANGUAGE sql STABLE SET search_path = quotas, pg_temp AS $$
    SELECT CASE
        WHEN count(m.key) = 0 THEN 'no'
        WHEN bool_and(m.hold_id = p_hold) IS NOT TRUE THEN 'other'
        WHEN p_class IS NULL OR bool_and(m.key IS NOT NULL AND a.amount IS NOT NULL AND a.amount = m.amount) THEN 'same'
        ELSE 'other' END
    FROM (SELECT * FROM movement WHERE kind = p_kind AND key = p_key) AS m
    FULL JOIN unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
        ON a.resource_class = m.resource_class AND a.pool_id = m.pool_id
$$;


-- Held becomes used: no counter moves. Without lines: all that is still held.
CREATE FUNCTION quotas.post(
    p_hold uuid, p_key uuid, p_class text[], p_pool uuid[], p_amount bigint[], p_now timestamptz
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    h hold;
    v_use text;
    v_short jsonb;
BEGIN
    SELECT * INTO h FROM hold WHERE id = p_hold FOR UPDATE;
    IF h.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'unknown');
    END IF;
    v_use := key_use('post', p_key, p_hold, p_class, p_pool, p_amount);
    IF v_use <> 'no' THEN
        RETURN jsonb_build_object('outcome', CASE v_use WHEN 'same' THEN 'ok' ELSE 'key_reused' END);
    END IF;
    IF h.state IN ('void', 'expired') OR h.state = 'held' AND h.expires_at <= coalesce(p_now, clock_timestamp()) THEN
        RETURN jsonb_build_object('outcome', 'gone', 'state', CASE h.state WHEN 'held' THEN 'overdue' ELSE h.state END);
    END IF;
    SELECT jsonb_agg(jsonb_build_object('resource_class', a.resource_class, 'pool_id', a.pool_id, 'asked', a.amount,
                     'there', coalesce(l.amount - l.posted - l.voided, 0)))
    INTO v_short
    FROM unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
    LEFT JOIN hold_line l ON l.hold_id = p_hold AND l.resource_class = a.resource_class AND l.pool_id = a.pool_id
    WHERE a.amount > coalesce(l.amount - l.posted - l.voided, 0);
    IF v_short IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'short', 'short', v_short);
    END IF;

    INSERT INTO movement (kind, key, resource_class, pool_id, hold_id, amount)
    SELECT 'post', p_key, l.resource_class, l.pool_id, p_hold, coalesce(a.amount, l.amount - l.posted - l.voided)
    FROM hold_line l
    LEFT JOIN unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
        ON a.resource_class = l.resource_class AND a.pool_id = l.pool_id
    WHERE l.hold_id = p_hold AND l.amount > l.posted + l.voided AND (p_class IS NULL OR a.amount IS NOT NULL);
    UPDATE hold_line l SET posted = l.posted + m.amount
    FROM movement m
    WHERE m.kind = 'post' AND m.key = p_key AND l.hold_id = p_hold
      AND l.resource_class = m.resource_class AND l.pool_id = m.pool_id;
    UPDATE hold SET state = 'done', changed_at = clock_timestamp()
    WHERE id = p_hold AND state <> 'done'
      AND NOT EXISTS (SELECT FROM hold_line WHERE hold_id = p_hold AND amount > posted + voided);
    RETURN jsonb_build_object('outcome', 'ok');
END $$;


-- Gives back what is still held. Again, or after an expiry: nothing there, no harm.
CREATE FUNCTION quotas.void(p_hold uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    h hold;
    r record;
BEGIN
    PERFORM gate_shared();
    SELECT * INTO h FROM hold WHERE id = p_hold FOR UPDATE;
    IF h.id IS NULL THEN
        RETURN 'unknown';
    ELSIF h.state NOT IN ('held', 'pinned') THEN
        RETURN 'ok';
    END IF;
    SELECT array_agg(h.node_id) AS nodes, array_agg(resource_class) AS classes, array_agg(pool_id) AS pools,
           array_agg(posted + voided - amount) AS amounts
    INTO r FROM hold_line WHERE hold_id = p_hold AND amount > posted + voided;
    PERFORM count_on(r.nodes, r.classes, r.pools, r.amounts);
    PERFORM close_rest(ARRAY[p_hold], 'void');
    RETURN 'ok';
END $$;


-- Gives back what was posted, never more. Without lines: all that is posted and not yet released.
CREATE FUNCTION quotas.release(
    p_hold uuid, p_key uuid, p_class text[], p_pool uuid[], p_amount bigint[]
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    h hold;
    r record;
    v_use text;
    v_short jsonb;
BEGIN
    PERFORM gate_shared();
    SELECT * INTO h FROM hold WHERE id = p_hold FOR UPDATE;
    IF h.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'unknown');
    END IF;
    v_use := key_use('release', p_key, p_hold, p_class, p_pool, p_amount);
    IF v_use <> 'no' THEN
        RETURN jsonb_build_object('outcome', CASE v_use WHEN 'same' THEN 'ok' ELSE 'key_reused' END);
    END IF;
    SELECT jsonb_agg(jsonb_build_object('resource_class', a.resource_class, 'pool_id', a.pool_id, 'asked', a.amount,
                     'there', coalesce(l.posted - l.released, 0)))
    INTO v_short
    FROM unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
    LEFT JOIN hold_line l ON l.hold_id = p_hold AND l.resource_class = a.resource_class AND l.pool_id = a.pool_id
    WHERE a.amount > coalesce(l.posted - l.released, 0);
    IF v_short IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'short', 'short', v_short);
    END IF;

    INSERT INTO movement (kind, key, resource_class, pool_id, hold_id, amount)
    SELECT 'release', p_key, l.resource_class, l.pool_id, p_hold, coalesce(a.amount, l.posted - l.released)
    FROM hold_line l
    LEFT JOIN unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
        ON a.resource_class = l.resource_class AND a.pool_id = l.pool_id
    WHERE l.hold_id = p_hold AND l.posted > l.released AND (p_class IS NULL OR a.amount IS NOT NULL);
    UPDATE hold_line l SET released = l.released + m.amount
    FROM movement m
    WHERE m.kind = 'release' AND m.key = p_key AND l.hold_id = p_hold
      AND l.resource_class = m.resource_class AND l.pool_id = m.pool_id;
    SELECT array_agg(h.node_id) AS nodes, array_agg(resource_class) AS classes, array_agg(pool_id) AS pools,
           array_agg(-amount) AS amounts
    INTO r FROM movement WHERE kind = 'release' AND key = p_key;
    PERFORM count_on(r.nodes, r.classes, r.pools, r.amounts);
    RETURN jsonb_build_object('outcome', 'ok');
END $$;


-- Expires holds that are due, at most p_limit, passing by those that somebody is working on.
CREATE FUNCTION quotas.sweep(p_now timestamptz, p_limit int)
RETURNS TABLE (hold_id uuid, owner uuid, node_id uuid, lines jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    v_ids uuid[];
    r record;
BEGIN
    PERFORM gate_shared();
    SELECT array_agg(due.id) INTO v_ids FROM (
        SELECT id FROM hold WHERE state = 'held' AND expires_at <= p_now
        ORDER BY expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED) AS due;
    IF v_ids IS NULL THEN
        RETURN;
    END IF;
    SELECT array_agg(h.node_id) AS nodes, array_agg(l.resource_class) AS classes, array_agg(l.pool_id) AS pools,
           array_agg(l.posted + l.voided - l.amount) AS amounts
    INTO r FROM hold_line l JOIN hold h ON h.id = l.hold_id
    WHERE l.hold_id = ANY (v_ids) AND l.amount > l.posted + l.voided;
    PERFORM count_on(r.nodes, r.classes, r.pools, r.amounts);
    PERFORM close_rest(v_ids, 'expire');
    RETURN QUERY
        SELECT h.id, h.owner, h.node_id, coalesce(jsonb_agg(jsonb_build_object('resource_class', m.resource_class,
               'pool_id', m.pool_id, 'amount', m.amount)) FILTER (WHERE m.key IS NOT NULL), '[]')
        FROM hold h LEFT JOIN movement m ON m.kind = 'expire' AND m.key = h.id
        WHERE h.id = ANY (v_ids) GROUP BY h.id;
END $$;


-- Every number that differs when it is counted again from the rows it stands for; one statement, one snapshot.
CREATE FUNCTION quotas.verify() RETURNS TABLE (what text, id text, kept bigint, recounted bigint) LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
    WITH counted AS (
        SELECT h.node_id, l.resource_class, l.pool_id, sum(l.amount - l.voided - l.released)::bigint AS amount
        FROM hold_line l JOIN hold h ON h.id = l.hold_id GROUP BY 1, 2, 3
    ), on_limit AS (
        SELECT l.id, sum(a.amount)::bigint AS used
        FROM counted a
        JOIN resource_class c ON c.code = a.resource_class
        JOIN node n ON n.id = a.node_id
        CROSS JOIN LATERAL unnest(n.path) AS p (node_id)
        JOIN node_limit l ON l.node_id = p.node_id AND l.resource_class IN (c.code, c.counts_in)
                         AND (l.pool_id IS NULL OR l.pool_id = a.pool_id)
        GROUP BY l.id
    ), on_pool AS (
        SELECT pool_id, resource_class, sum(amount)::bigint AS used FROM counted GROUP BY 1, 2
    ), moved AS (
        SELECT hold_id, resource_class, pool_id,
               coalesce(sum(amount) FILTER (WHERE kind = 'post'), 0)::bigint AS posted,
               coalesce(sum(amount) FILTER (WHERE kind IN ('void', 'expire')), 0)::bigint AS voided,
               coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0)::bigint AS released
        FROM movement GROUP BY 1, 2, 3
    )
    SELECT 'node_limit', concat_ws('/', l.node_id, l.resource_class, l.pool_id), l.used, coalesce(o.used, 0)
    FROM node_limit l LEFT JOIN on_limit o ON o.id = l.id
    WHERE l.used <> coalesce(o.used, 0)
    UNION ALL
    SELECT 'inventory', concat_ws('/', i.pool_id, i.resource_class), i.used, coalesce(o.used, 0)
    FROM inventory i LEFT JOIN on_pool o USING (pool_id, resource_class)
    WHERE i.total IS NOT NULL AND i.used <> coalesce(o.used, 0)
    UNION ALL
    SELECT 'hold_line.' || f.name, concat_ws('/', l.hold_id, l.resource_class, l.pool_id), f.kept, f.recounted
    FROM hold_line l
    LEFT JOIN moved m USING (hold_id, resource_class, pool_id)
    CROSS JOIN LATERAL (VALUES ('posted', l.posted, coalesce(m.posted, 0)), ('voided', l.voided, coalesce(m.voided, 0)),
                               ('released', l.released, coalesce(m.released, 0))) AS f (name, kept, recounted)
    WHERE f.kept <> f.recounted
    UNION ALL
    -- A closed hold holds nothing, an open one something.
    SELECT 'hold.state', concat_ws('/', h.id, h.state), o.held, 0
    FROM hold h
    CROSS JOIN LATERAL (SELECT coalesce(sum(amount - posted - voided), 0)::bigint AS held
                        FROM hold_line WHERE hold_id = h.id) AS o
    WHERE (h.state IN ('held', 'pinned')) <> (o.held > 0)
    ORDER BY 1, 2
$$;
