-- Nodes are made and go elsewhere with all that is below them, and so do holds: what they use stays counted.

-- A node below its parent, behind the lock of the tree (4): who makes a node has it shared, who moves one has it alone, for a
-- child made meanwhile would keep the old way to the root.
CREATE OR REPLACE FUNCTION quotas.add_node(p_id uuid, p_parent uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1902458740, 4);
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


-- For a transaction that makes and moves several: until it ends nobody else makes or moves a node, or counts.
CREATE OR REPLACE FUNCTION quotas.reshape_alone() RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1902458740, 4);
    PERFORM gate_exclusive();
END $$;


-- Moves a node with everything below it. What is used below leaves the old way and comes to the new one in this one
-- transaction; holds, lines and the ledger are not touched, for they name their node and not their way. Guarantees below
-- are booked on the new way, and what guarantees on the old way are filled less is booked there again.
--
-- p_how: 'within' (refused where a limit would be passed), 'over' (moves all the same, and names what is over: a
-- reorganisation is a fact, and only growth is refused from then on). What it would do says quotas.moving.look.
-- Outcomes: ok (how many nodes moved; what is over), no_node, no_parent, inside (the new parent is below the node),
-- too_deep, refused (as in hold), not_covered (a limit that is over has a guarantee below it, which growth inside would
-- carry past the limit: never allowed).
CREATE OR REPLACE FUNCTION quotas.move_node(p_node uuid, p_parent uuid, p_how text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    n node;
    p node;
    r record;
    v_moved int := 0;
    v_load bigint;
    v_classes text[];  -- what is used below the node, by class and pool
    v_pools uuid[];
    v_amounts bigint[];
    v_over jsonb := '[]';
    v_uncovered jsonb;
BEGIN
    PERFORM reshape_alone();
    SELECT * INTO n FROM node WHERE id = p_node;
    SELECT * INTO p FROM node WHERE id = p_parent;
    IF n.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'no_node');
    ELSIF p.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'no_parent');
    ELSIF p.path @> ARRAY[p_node] THEN
        RETURN jsonb_build_object('outcome', 'inside');
    ELSIF n.parent_id = p_parent THEN
        RETURN jsonb_build_object('outcome', 'ok', 'nodes', 0, 'over', v_over);
    ELSIF (SELECT max(depth) FROM node WHERE path @> ARRAY[p_node]) - n.depth + p.depth + 1 > 63 THEN
        RETURN jsonb_build_object('outcome', 'too_deep');
    END IF;

    BEGIN  -- so that a refusal leaves nothing behind
        SELECT array_agg(u.class), array_agg(u.pool_id), array_agg(u.amount) INTO v_classes, v_pools, v_amounts FROM (
            SELECT k.class, l.pool_id, sum(l.amount - l.voided - l.released)::bigint AS amount
            FROM node b
            JOIN hold h ON h.node_id = b.id
            JOIN hold_line l ON l.hold_id = h.id
            JOIN resource_class c ON c.code = l.resource_class
            CROSS JOIN LATERAL unnest(ARRAY[c.code, c.counts_in]) AS k (class)
            WHERE b.path @> ARRAY[p_node] AND k.class IS NOT NULL
            GROUP BY 1, 2) AS u;

        UPDATE node SET path = path[1 : cardinality(path) - n.depth] || p.path, depth = depth - n.depth + p.depth + 1,
                        parent_id = CASE WHEN id = p_node THEN p_parent ELSE parent_id END
        WHERE path @> ARRAY[p_node];
        GET DIAGNOSTICS v_moved = ROW_COUNT;

        -- Every limit on either way, the deepest first: what one books depends on those below it. On the way that both
        -- share only what is booked may change.
        FOR r IN
            SELECT l.*, a.depth,
                   CASE WHEN n.path @> ARRAY[a.id] AND p.path @> ARRAY[a.id] THEN 0
                        ELSE CASE WHEN p.path @> ARRAY[a.id] THEN 1 ELSE -1 END * coalesce((
                            SELECT sum(m.amount) FROM unnest(v_classes, v_pools, v_amounts) AS m (class, pool_id, amount)
                            WHERE m.class = l.resource_class AND (l.pool_id IS NULL OR m.pool_id = l.pool_id)), 0)
                   END::bigint AS delta
            FROM node a JOIN node_limit l ON l.node_id = a.id
            WHERE a.id = ANY (n.path[2:]) OR a.id = ANY (p.path)
            ORDER BY a.depth DESC, l.id
        LOOP
            UPDATE node_limit SET used = used + r.delta, booked = booked_below(r.node_id, r.resource_class, r.pool_id)
            WHERE id = r.id RETURNING used + booked INTO v_load;
            IF v_load > r.used + r.booked AND v_load > r.ceiling THEN
                v_over := v_over || jsonb_build_object('cause', 'limit', 'node_id', r.node_id,
                    'resource_class', r.resource_class, 'pool_id', r.pool_id, 'limit', r.ceiling,
                    'used', r.used + r.booked, 'asked', v_load - r.used - r.booked);
                IF v_uncovered IS NULL AND guarantees_below(r.node_id, r.resource_class, r.pool_id) THEN
                    v_uncovered := jsonb_build_object('outcome', 'not_covered', 'node_id', r.node_id,
                        'limit', r.ceiling, 'needed', v_load);
                END IF;
            END IF;
        END LOOP;
        IF v_uncovered IS NOT NULL OR p_how <> 'over' AND v_over <> '[]' THEN
            RAISE EXCEPTION USING ERRCODE = 'QU001';
        END IF;
    EXCEPTION WHEN SQLSTATE 'QU001' THEN
        RETURN coalesce(v_uncovered, jsonb_build_object('outcome', 'refused', 'refused', v_over));
    END;
    RETURN jsonb_build_object('outcome', 'ok', 'nodes', v_moved, 'over', v_over);
END $$;


-- Holds with all that is counted of them go to another node, all or nothing: what leaves one path comes to the other in one
-- count. They remember where they were asked at first.
CREATE OR REPLACE FUNCTION quotas.move_holds(p_holds uuid[], p_node uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_wanted uuid[];
    v_locked uuid[];
    v_refused jsonb;
    r record;
BEGIN
    PERFORM gate_exclusive();
    IF NOT EXISTS (SELECT FROM node WHERE id = p_node) THEN
        RETURN jsonb_build_object('outcome', 'no_node');
    END IF;
    SELECT array_agg(id) INTO v_wanted FROM hold WHERE id = ANY (p_holds) AND node_id <> p_node;
    -- Who has one locked may come to count next, and then waits for us: not to be waited for.
    SELECT array_agg(id) INTO v_locked FROM (
        SELECT id FROM hold WHERE id = ANY (v_wanted) ORDER BY id FOR UPDATE SKIP LOCKED) AS free;
    IF cardinality(v_locked) IS DISTINCT FROM cardinality(v_wanted) THEN
        RETURN jsonb_build_object('outcome', 'busy');
    END IF;
    SELECT array_agg(node_id) AS nodes, array_agg(resource_class) AS classes, array_agg(pool_id) AS pools,
           array_agg(amount) AS amounts
    INTO r FROM (
        SELECT at.node_id, l.resource_class, l.pool_id,
               sum(at.sign * (l.amount - l.voided - l.released))::bigint AS amount
        FROM hold h JOIN hold_line l ON l.hold_id = h.id
        CROSS JOIN LATERAL (VALUES (h.node_id, -1), (p_node, 1)) AS at (node_id, sign)
        WHERE h.id = ANY (v_locked) AND l.amount > l.voided + l.released
        GROUP BY 1, 2, 3) AS moved;
    IF r.nodes IS NOT NULL THEN
        v_refused := count_on(r.nodes, r.classes, r.pools, r.amounts);
    END IF;
    IF v_refused IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'refused', 'refused', v_refused);
    END IF;
    UPDATE hold SET node_id = p_node, asked_node_id = coalesce(asked_node_id, node_id), changed_at = clock_timestamp()
    WHERE id = ANY (v_locked);
    INSERT INTO hold_change (hold_id, what, node_id) SELECT u.id, 'move', p_node FROM unnest(v_locked) AS u (id);
    RETURN jsonb_build_object('outcome', 'ok', 'moved', coalesce(cardinality(v_locked), 0));
END $$;
