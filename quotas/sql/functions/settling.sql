-- What becomes of a hold: pinned, posted, released, expired. All pass the gate like who counts, so that whoever is alone meets no
-- hold that is locked.

-- Returns 'ok', or the state that forbids it ('overdue' for a due hold that no sweep has met yet).
CREATE OR REPLACE FUNCTION quotas.pin(p_hold uuid, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_state text;
BEGIN
    PERFORM gate_shared();
    UPDATE hold SET state = 'pinned', changed_at = clock_timestamp()
    WHERE id = p_hold AND state = 'held' AND expires_at > coalesce(p_now, clock_timestamp());
    IF FOUND THEN
        INSERT INTO hold_change (hold_id, what) VALUES (p_hold, 'pin');
        RETURN 'ok';
    END IF;
    SELECT state INTO v_state FROM hold WHERE id = p_hold;
    RETURN CASE v_state WHEN 'pinned' THEN 'ok' WHEN 'done' THEN 'ok' WHEN 'held' THEN 'overdue'
           ELSE coalesce(v_state, 'unknown') END;
END $$;


-- Held becomes used: no counter moves. Without lines: all that is still held. Like release it tells what it did: how many lines
-- were moved, or NULL where the key had been used for just this before, so that an event is written once.
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


-- Gives back what is still held; what is posted stays. Tells what it was, by line: nothing after an expiry, or the second time.
CREATE OR REPLACE FUNCTION quotas.void(p_hold uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    h hold;
    r record;
BEGIN
    PERFORM gate_shared();
    SELECT * INTO h FROM hold WHERE id = p_hold FOR UPDATE;
    IF h.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'unknown');
    ELSIF h.state NOT IN ('held', 'pinned') THEN
        RETURN jsonb_build_object('outcome', 'ok', 'given', '[]'::jsonb);
    END IF;
    SELECT array_agg(h.node_id) AS nodes, array_agg(resource_class) AS classes, array_agg(pool_id) AS pools,
           array_agg(posted + voided - amount) AS amounts,
           coalesce(jsonb_agg(jsonb_build_object('resource_class', resource_class, 'pool_id', pool_id,
                    'amount', amount - posted - voided) ORDER BY resource_class COLLATE "C", pool_id), '[]') AS given
    INTO r FROM hold_line WHERE hold_id = p_hold AND amount > posted + voided;
    PERFORM count_on(r.nodes, r.classes, r.pools, r.amounts);
    PERFORM close_rest(ARRAY[p_hold], 'void');
    RETURN jsonb_build_object('outcome', 'ok', 'given', r.given);
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


-- Expires holds that are due (p_only: of these, for a caller who locks what is his own before the gate), at most p_limit, passing
-- by those that somebody is working on.
CREATE OR REPLACE FUNCTION quotas.sweep(p_now timestamptz, p_limit int, p_only uuid[])
RETURNS TABLE (hold_id uuid, owner uuid, node_id uuid, lines jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    v_ids uuid[];
    r record;
BEGIN
    PERFORM gate_shared();
    SELECT array_agg(due.id) INTO v_ids FROM (
        SELECT id FROM hold WHERE state = 'held' AND expires_at <= p_now AND (p_only IS NULL OR id = ANY (p_only))
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
