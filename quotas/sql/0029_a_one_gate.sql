-- Called by: the migrations, once, after 0022_b. Must not: be edited; later changes come as new files.
-- Who holds together with others passes the same gate as everybody: it refuses a transaction that keeps an older snapshot,
-- in which a limit that was set meanwhile would be unseen.

-- Serves everybody who waits: first all at once; if that is not possible, one after the other in order of arrival.
-- A wish whose caller gave up ten seconds ago is left alone. Returns the answer to the caller's own. "failed": it could not be
-- counted, for a reason that is not the quota's; asked for by itself it says which.
CREATE OR REPLACE FUNCTION quotas.serve_wishes() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    w record;
    v_made uuid[];
    v_refused boolean := true;
    v_answer jsonb;
BEGIN
    PERFORM gate_shared();
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
