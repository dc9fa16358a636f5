-- What was granted is written twice: as lines that change, and once more as it was granted, for the recount alone. A hold that
-- was raised, sent elsewhere or deleted was seen only where something finite had counted it. Frozen once released, like the
-- files before it; migration 0030_granted executes it and the next two as they stand.
--
-- One row a counting transaction and no index: who shares a commit shares the row (of 7 holds; 3 microseconds each). It only
-- grows, as the ledger does, and the runtime role may read it.
CREATE TABLE quotas.granted (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- one element a line of a hold
    holds uuid[] NOT NULL,
    nodes uuid[] NOT NULL,
    classes text[] NOT NULL,
    pools uuid[] NOT NULL,
    amounts bigint[] NOT NULL
);
-- Ids do not get smaller by being packed.
ALTER TABLE quotas.granted
    ALTER holds SET STORAGE EXTERNAL, ALTER nodes SET STORAGE EXTERNAL, ALTER classes SET STORAGE EXTERNAL,
    ALTER pools SET STORAGE EXTERNAL, ALTER amounts SET STORAGE EXTERNAL;

INSERT INTO quotas.granted (at, holds, nodes, classes, pools, amounts)
SELECT min(created_at), array_agg(id), array_agg(node_id), array_agg(resource_class), array_agg(pool_id), array_agg(amount)
FROM (SELECT h.created_at, h.id, h.node_id, l.resource_class, l.pool_id, l.amount, row_number() OVER (ORDER BY h.id) / 100 AS part
      FROM quotas.hold h JOIN quotas.hold_line l ON l.hold_id = h.id) AS line
GROUP BY part;

-- Where a hold was asked at, once it was moved to another node; NULL: where it is.
ALTER TABLE quotas.hold ADD COLUMN asked_node_id uuid;


-- One call, one round trip. With p_replaces only the difference to what that hold still holds is asked for. Third edition: a
-- hold that was moved since is known again by the node at which it was asked.
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
        -- As it was asked, or where it is counted since it was moved: who does not know how it went asks as he did.
        IF v_old.owner <> p_owner OR p_node NOT IN (v_old.node_id, coalesce(v_old.asked_node_id, v_old.node_id)) OR EXISTS (
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
    INSERT INTO granted (holds, nodes, classes, pools, amounts)
    VALUES (array_fill(p_id, ARRAY[cardinality(p_class)]), array_fill(p_node, ARRAY[cardinality(p_class)]),
            p_class, p_pool, p_amount);
    IF p_replaces IS NOT NULL THEN
        PERFORM close_rest(ARRAY[p_replaces], 'void');
    END IF;
    IF v_old.state = 'pinned' THEN  -- what delivery has begun with cannot expire, whatever its size
        UPDATE hold SET state = 'pinned' WHERE id = p_id;
    END IF;
    RETURN jsonb_build_object('outcome', 'ok');
END $$;


-- Serves everybody who waits, as before (0021_c_together.sql).
CREATE OR REPLACE FUNCTION quotas.serve_wishes() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    w record;
    v_made uuid[];
    v_refused boolean := true;
    v_answer jsonb;
BEGIN
    PERFORM gate_shared();  -- refuses a transaction that keeps an older snapshot, in which a new limit is unseen
    SELECT array_agg(hold_id) FILTER (WHERE nth = 1) AS holds, array_agg(owner) FILTER (WHERE nth = 1) AS owners,
           array_agg(node_id) FILTER (WHERE nth = 1) AS nodes, array_agg(expires_at) FILTER (WHERE nth = 1) AS dates,
           array_agg(backend) FILTER (WHERE nth = 1) AS backends,
           array_agg(hold_id) AS line_holds, array_agg(node_id) AS line_nodes, array_agg(l.class) AS classes,
           array_agg(l.pool) AS pools, array_agg(l.amount) AS amounts
    INTO w
    FROM wish CROSS JOIN LATERAL unnest(classes, pools, amounts) WITH ORDINALITY AS l (class, pool, amount, nth)
    WHERE answer IS NULL AND (backend = pg_backend_pid() OR asked_at > clock_timestamp() - interval '10 seconds');

    IF w.holds IS NULL THEN  -- an earlier leader served them all
        RETURN (SELECT answer FROM wish WHERE backend = pg_backend_pid());
    END IF;
    BEGIN
        WITH made AS (
            INSERT INTO hold (id, owner, node_id, state, expires_at)
            SELECT u.id, u.owner, u.node_id, 'held', u.expires_at
            FROM unnest(w.holds, w.owners, w.nodes, w.dates) AS u (id, owner, node_id, expires_at)
            JOIN node n ON n.id = u.node_id
            ON CONFLICT (id) DO NOTHING RETURNING id
        ) SELECT array_agg(id) INTO v_made FROM made;
        -- Fewer: an id that is there or was asked for twice, or a node that is not.
        IF cardinality(v_made) = cardinality(w.holds) THEN
            v_refused := count_on(w.line_nodes, w.classes, w.pools, w.amounts) IS NOT NULL;
        END IF;
        IF NOT v_refused THEN
            WITH line AS (
                INSERT INTO hold_line (hold_id, resource_class, pool_id, amount)
                SELECT * FROM unnest(w.line_holds, w.classes, w.pools, w.amounts)
            ), once_more AS (
                INSERT INTO granted (holds, nodes, classes, pools, amounts)
                VALUES (w.line_holds, w.line_nodes, w.classes, w.pools, w.amounts)
            )
            UPDATE wish SET answer = '{"outcome": "ok"}'
            FROM unnest(w.backends, w.holds) AS u (backend, hold_id)
            WHERE wish.backend = u.backend AND wish.hold_id = u.hold_id;
            RETURN (SELECT answer FROM wish WHERE backend = pg_backend_pid());
        END IF;
        DELETE FROM hold WHERE id = ANY (v_made);
    EXCEPTION WHEN OTHERS THEN
        NULL;  -- one of them cannot be counted, and must not be the others' end; nothing of the attempt is left
    END;
    FOR w IN SELECT wish.* FROM wish JOIN unnest(w.backends, w.holds) AS u (backend, hold_id) USING (backend, hold_id)
             ORDER BY asked_at LOOP
        BEGIN
            v_answer := hold(w.hold_id, w.owner, w.node_id, w.classes, w.pools, w.amounts, w.expires_at, NULL);
        EXCEPTION WHEN OTHERS THEN
            v_answer := jsonb_build_object('outcome', 'failed', 'sqlstate', SQLSTATE);
        END;
        UPDATE wish SET answer = v_answer WHERE backend = w.backend AND hold_id = w.hold_id;
    END LOOP;
    RETURN (SELECT answer FROM wish WHERE backend = pg_backend_pid());
END $$;


-- Holds go to another node, as before (0012_a_moving.sql), and remember where they were asked at first.
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
    RETURN jsonb_build_object('outcome', 'ok', 'moved', coalesce(cardinality(v_locked), 0));
END $$;


REVOKE ALL ON quotas.granted FROM PUBLIC;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        REVOKE ALL ON quotas.granted FROM guiyun_app;
        GRANT SELECT ON quotas.granted TO guiyun_app;
    END IF;
END $$;
