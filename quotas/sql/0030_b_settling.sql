-- Post and release as in 0022_a_one_order.sql, which now tell what they did: how many lines were moved, or NULL where the key
-- had been used for just this before. Who wrote an event for it had looked before and after, and two who asked at once with
-- one key had both written theirs.

-- Held becomes used: no counter moves. Without lines: all that is still held.
CREATE OR REPLACE FUNCTION quotas.post(
    p_hold uuid, p_key uuid, p_class text[], p_pool uuid[], p_amount bigint[], p_now timestamptz
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    h hold;
    v_use text;
    v_short jsonb;
    v_moved int;
BEGIN
    PERFORM gate_shared();
    PERFORM one_at_a_time('post', p_key);
    IF (p_class, p_pool, p_amount) IS DISTINCT FROM (NULL::text[], NULL::uuid[], NULL::bigint[])
       AND are_bad(p_class, p_pool, p_amount) THEN
        RETURN jsonb_build_object('outcome', 'bad_amount');
    END IF;
    SELECT * INTO h FROM hold WHERE id = p_hold FOR UPDATE;
    IF h.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'unknown');
    END IF;
    v_use := key_use('post', p_key, p_hold, p_class, p_pool, p_amount);
    IF v_use <> 'no' THEN
        RETURN jsonb_build_object('outcome', CASE v_use WHEN 'same' THEN 'ok' ELSE 'key_reused' END, 'moved', NULL);
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
    GET DIAGNOSTICS v_moved = ROW_COUNT;
    UPDATE hold_line l SET posted = l.posted + m.amount
    FROM movement m
    WHERE m.kind = 'post' AND m.key = p_key AND m.hold_id = p_hold AND l.hold_id = p_hold
      AND l.resource_class = m.resource_class AND l.pool_id = m.pool_id;
    UPDATE hold SET state = 'done', changed_at = clock_timestamp()
    WHERE id = p_hold AND state <> 'done'
      AND NOT EXISTS (SELECT FROM hold_line WHERE hold_id = p_hold AND amount > posted + voided);
    RETURN jsonb_build_object('outcome', 'ok', 'moved', v_moved);
END $$;


-- Gives back what was posted, never more. Without lines: all that is posted and not yet released.
CREATE OR REPLACE FUNCTION quotas.release(
    p_hold uuid, p_key uuid, p_class text[], p_pool uuid[], p_amount bigint[]
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    h hold;
    r record;
    v_use text;
    v_short jsonb;
    v_moved int;
BEGIN
    IF (p_class, p_pool, p_amount) IS DISTINCT FROM (NULL::text[], NULL::uuid[], NULL::bigint[])
       AND are_bad(p_class, p_pool, p_amount) THEN
        RETURN jsonb_build_object('outcome', 'bad_amount');
    END IF;
    PERFORM gate_shared();
    PERFORM one_at_a_time('release', p_key);
    SELECT * INTO h FROM hold WHERE id = p_hold FOR UPDATE;
    IF h.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'unknown');
    END IF;
    v_use := key_use('release', p_key, p_hold, p_class, p_pool, p_amount);
    IF v_use <> 'no' THEN
        RETURN jsonb_build_object('outcome', CASE v_use WHEN 'same' THEN 'ok' ELSE 'key_reused' END, 'moved', NULL);
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
    GET DIAGNOSTICS v_moved = ROW_COUNT;
    UPDATE hold_line l SET released = l.released + m.amount
    FROM movement m
    WHERE m.kind = 'release' AND m.key = p_key AND m.hold_id = p_hold AND l.hold_id = p_hold
      AND l.resource_class = m.resource_class AND l.pool_id = m.pool_id;
    SELECT array_agg(h.node_id) AS nodes, array_agg(resource_class) AS classes, array_agg(pool_id) AS pools,
           array_agg(-amount) AS amounts
    INTO r FROM movement WHERE kind = 'release' AND key = p_key AND hold_id = p_hold;
    PERFORM count_on(r.nodes, r.classes, r.pools, r.amounts);
    RETURN jsonb_build_object('outcome', 'ok', 'moved', v_moved);
END $$;
