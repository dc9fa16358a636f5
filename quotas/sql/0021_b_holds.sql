-- Holds, second edition, with lines that are looked at before anything is counted. New:
--
-- A hold asked for again with its id, after it was given up, is "gone" and not "ok": nothing of it is counted.
-- What replaces a pinned hold is pinned. What replaces a hold that is over is "gone": two who resized one hold at once had
-- both counted theirs, the second for the whole.

-- Why a hold cannot be relied upon any more: its state, 'overdue' (due, and no sweep has met it yet), or 'released' (all that
-- was posted was given back). NULL: it can.
CREATE FUNCTION quotas.what_is_gone(p_hold quotas.hold) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = quotas, pg_temp AS $$
BEGIN
    RETURN CASE WHEN p_hold.state IN ('void', 'expired') THEN p_hold.state
                WHEN p_hold.state = 'held' AND p_hold.expires_at <= clock_timestamp() THEN 'overdue'
                WHEN p_hold.state = 'done' AND NOT EXISTS (
                    SELECT FROM hold_line WHERE hold_id = p_hold.id AND amount > voided + released) THEN 'released' END;
END $$;


-- One call, one round trip. With p_replaces only the difference to what that hold still holds is asked for.
CREATE OR REPLACE FUNCTION quotas.hold(
    p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[],
    p_expires_at timestamptz, p_replaces uuid
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_old hold;
    v_nodes uuid[];
    v_classes text[] := p_class;
    v_pools uuid[] := p_pool;
    v_amounts bigint[] := p_amount;
    v_refused jsonb;
    v_state text;
    r record;
BEGIN
    IF are_bad(p_class, p_pool, p_amount) THEN
        RETURN jsonb_build_object('outcome', 'bad_amount');
    END IF;
    v_nodes := array_fill(p_node, ARRAY[cardinality(p_class)]);
    PERFORM gate_shared();
    IF NOT EXISTS (SELECT FROM node WHERE id = p_node) THEN
        RETURN jsonb_build_object('outcome', 'no_node');
    END IF;
    INSERT INTO hold (id, owner, node_id, state, expires_at)
    VALUES (p_id, p_owner, p_node, 'held', p_expires_at) ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO v_old FROM hold WHERE id = p_id;
        IF (v_old.owner, v_old.node_id) IS DISTINCT FROM (p_owner, p_node) OR EXISTS (
            SELECT FROM (SELECT resource_class, pool_id, amount FROM hold_line WHERE hold_id = p_id) l
            FULL JOIN unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
                USING (resource_class, pool_id, amount)
            WHERE l IS NULL OR a IS NULL) THEN
            RETURN jsonb_build_object('outcome', 'conflict');
        END IF;
        v_state := what_is_gone(v_old);
        RETURN CASE WHEN v_state IS NULL THEN jsonb_build_object('outcome', 'ok')
               ELSE jsonb_build_object('outcome', 'gone', 'hold_id', p_id, 'state', v_state) END;
    END IF;
    IF p_replaces IS NOT NULL THEN
        SELECT * INTO v_old FROM hold WHERE id = p_replaces FOR UPDATE;
        IF v_old.id IS NULL OR v_old.owner <> p_owner THEN
            DELETE FROM hold WHERE id = p_id;
            RETURN jsonb_build_object('outcome', CASE WHEN v_old.id IS NULL THEN 'unknown' ELSE 'not_yours' END);
        ELSIF v_old.state NOT IN ('held', 'pinned') THEN
            DELETE FROM hold WHERE id = p_id;
            RETURN jsonb_build_object('outcome', 'gone', 'hold_id', p_replaces, 'state', v_old.state);
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
    IF p_replaces IS NOT NULL THEN
        PERFORM close_rest(ARRAY[p_replaces], 'void');
    END IF;
    IF v_old.state = 'pinned' THEN  -- what delivery has begun with cannot expire, whatever its size
        UPDATE hold SET state = 'pinned' WHERE id = p_id;
    END IF;
    RETURN jsonb_build_object('outcome', 'ok');
END $$;


-- Held becomes used: no counter moves. Without lines: all that is still held.
CREATE OR REPLACE FUNCTION quotas.post(
    p_hold uuid, p_key uuid, p_class text[], p_pool uuid[], p_amount bigint[], p_now timestamptz
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    h hold;
    v_use text;
    v_short jsonb;
BEGIN
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
BEGIN
    IF (p_class, p_pool, p_amount) IS DISTINCT FROM (NULL::text[], NULL::uuid[], NULL::bigint[])
       AND are_bad(p_class, p_pool, p_amount) THEN
        RETURN jsonb_build_object('outcome', 'bad_amount');
    END IF;
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
    WHERE m.kind = 'release' AND m.key = p_key AND m.hold_id = p_hold AND l.hold_id = p_hold
      AND l.resource_class = m.resource_class AND l.pool_id = m.pool_id;
    SELECT array_agg(h.node_id) AS nodes, array_agg(resource_class) AS classes, array_agg(pool_id) AS pools,
           array_agg(-amount) AS amounts
    INTO r FROM movement WHERE kind = 'release' AND key = p_key AND hold_id = p_hold;
    PERFORM count_on(r.nodes, r.classes, r.pools, r.amounts);
    RETURN jsonb_build_object('outcome', 'ok');
END $$;
