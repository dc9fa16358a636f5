-- A hold in the caller's transaction.

-- Why a hold cannot be relied upon any more: its state, 'overdue' (due, and no sweep has met it yet), or 'released' (all that
-- was posted was given back). NULL: it can.
CREATE OR REPLACE FUNCTION quotas.what_is_gone(p_hold quotas.hold) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = quotas, pg_temp AS $$
BEGIN
    RETURN CASE WHEN p_hold.state IN ('void', 'expired') THEN p_hold.state
                WHEN p_hold.state = 'held' AND p_hold.expires_at <= clock_timestamp() THEN 'overdue'
                WHEN p_hold.state = 'done' AND NOT EXISTS (
                    SELECT FROM hold_line WHERE hold_id = p_hold.id AND amount > voided + released) THEN 'released' END;
END $$;


-- One call, one round trip. With p_replaces only the difference to what that hold still holds is asked for; what replaces a
-- pinned hold is pinned, and what replaces one that is over is "gone". A hold asked for again with its id is "ok" while it
-- counts (with the date it has, whatever was asked now) and "gone" afterwards: nothing of it is counted.
CREATE OR REPLACE FUNCTION quotas.hold(
    p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[],
    p_expires_at timestamptz, p_replaces uuid
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_old hold;
    v_lines int[] := ARRAY[cardinality(p_class)];  -- as many as there are, for array_fill
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
    v_nodes := array_fill(p_node, v_lines);
    PERFORM gate_shared();
    IF NOT EXISTS (SELECT FROM node WHERE id = p_node) THEN
        RETURN jsonb_build_object('outcome', 'no_node');
    END IF;
    INSERT INTO hold (id, owner, node_id, state, expires_at)
    VALUES (p_id, p_owner, p_node, 'held', p_expires_at) ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO v_old FROM hold WHERE id = p_id;
        -- As it was asked, or where it is counted since it was moved: who does not know how it went asks as he did.
        IF v_old.owner <> p_owner OR p_node NOT IN (v_old.node_id, coalesce(v_old.asked_node_id, v_old.node_id)) OR EXISTS (
            SELECT FROM (SELECT resource_class, pool_id, amount FROM hold_line WHERE hold_id = p_id) l
            FULL JOIN unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
                USING (resource_class, pool_id, amount)
            WHERE l IS NULL OR a IS NULL) THEN
            RETURN jsonb_build_object('outcome', 'conflict');
        END IF;
        v_state := what_is_gone(v_old);
        RETURN CASE WHEN v_state IS NULL THEN jsonb_build_object('outcome', 'ok', 'expires_at', v_old.expires_at)
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
    INSERT INTO granted (holds, nodes, classes, pools, amounts, owners, deadlines)
    VALUES (array_fill(p_id, v_lines), array_fill(p_node, v_lines), p_class, p_pool, p_amount,
            array_fill(p_owner, v_lines), array_fill(p_expires_at, v_lines));
    IF p_replaces IS NOT NULL THEN
        PERFORM close_rest(ARRAY[p_replaces], 'void');
    END IF;
    IF v_old.state = 'pinned' THEN  -- what delivery has begun with cannot expire, whatever its size
        UPDATE hold SET state = 'pinned' WHERE id = p_id;
        INSERT INTO hold_change (hold_id, what) VALUES (p_id, 'pin');
    END IF;
    RETURN jsonb_build_object('outcome', 'ok');
END $$;
