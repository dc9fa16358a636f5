-- Nodes that come later: where a hold is counted when a node below may have appeared, and holds that move there.
--
-- Frozen once released, like the files before it; migration 0012_system_nodes executes it as it stands. An information
-- system is counted at its unit until an operator gives it a node of its own; then it is counted there, and with it at
-- every node above. Giving a node waits for all who count and moves what the system already has, so that the new node's
-- counters start exact.

-- The first of the nodes that exists; if none does, the last one. Looked for behind the gate, which the transaction then
-- holds: whoever counts on the answer cannot have missed a node that came meanwhile.
CREATE FUNCTION quotas.lowest(p_nodes uuid[]) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    PERFORM gate_shared();
    RETURN coalesce(
        (SELECT n.id FROM unnest(p_nodes) WITH ORDINALITY AS p (id, nth) JOIN node n ON n.id = p.id ORDER BY nth LIMIT 1),
        p_nodes[cardinality(p_nodes)]);
END $$;


-- Holds with all that is counted of them go to another node, all or nothing: what leaves one path comes to the other in
-- one count, so that the nodes above both keep what they have. Again: nothing moves. Nothing is written in the ledger,
-- which says what became of a line and not where it is counted.
-- Outcomes: ok (with how many moved), no_node, refused (as in hold), busy (somebody is working on one of them).
CREATE FUNCTION quotas.move_holds(p_holds uuid[], p_node uuid) RETURNS jsonb
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
    UPDATE hold SET node_id = p_node, changed_at = clock_timestamp() WHERE id = ANY (v_locked);
    RETURN jsonb_build_object('outcome', 'ok', 'moved', coalesce(cardinality(v_locked), 0));
END $$;


REVOKE ALL ON FUNCTION quotas.lowest, quotas.move_holds FROM PUBLIC;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        GRANT EXECUTE ON FUNCTION quotas.lowest, quotas.move_holds TO guiyun_app;
    END IF;
END $$;
