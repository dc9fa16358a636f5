-- Setting a limit, third edition. A limit that was lowered beside a guarantee made below it, neither seeing the other, left a
-- guarantee that the limit did not cover: what was granted under it passed the limit.
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
        -- Nothing is guaranteed here, before or after, so that nothing changes above; and a ceiling that is not lowered covers
        -- whatever it has covered, also what somebody guarantees below at this moment. All else has to see a standing tree.
        UPDATE node_limit SET limit_amount = p_limit, borrowing_limit = p_borrowing, ceiling = v_ceiling
        WHERE node_id = p_node AND resource_class = p_class AND pool_id IS NOT DISTINCT FROM p_pool
          AND p_limit IS NOT NULL AND lending_limit IS NULL
          AND v_ceiling >= ceiling;
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
