-- Holds of many callers in one transaction: how, and why nobody sleeps for ever, stands in 0018_b_together.sql.

-- A connection's wish; its first forgets those of connections that are long gone. NULL, or why it is none: only this writes a
-- wish, and looks at it first. In a transaction of its own every call and expression is prepared anew: a wish of one line, as
-- most are, is therefore looked at here and not by a call (of 17 microseconds, 5).
CREATE OR REPLACE FUNCTION quotas.wish_for(
    p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[], p_expires_at timestamptz
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    IF (cardinality(p_amount) = 1 AND cardinality(p_class) = 1 AND cardinality(p_pool) = 1
        AND p_amount[1] BETWEEN 1 AND 1000000000000000 AND p_class[1] IS NOT NULL AND p_pool[1] IS NOT NULL) IS NOT TRUE
       AND are_bad(p_class, p_pool, p_amount) THEN
        RETURN jsonb_build_object('outcome', 'bad_amount');
    END IF;
    UPDATE wish
    SET hold_id = p_id, owner = p_owner, node_id = p_node, classes = p_class, pools = p_pool, amounts = p_amount,
        expires_at = p_expires_at, asked_at = clock_timestamp(), answer = NULL
    WHERE backend = pg_backend_pid();
    IF NOT FOUND THEN
        DELETE FROM wish WHERE asked_at < clock_timestamp() - interval '1 hour';
        INSERT INTO wish (backend, hold_id, owner, node_id, classes, pools, amounts, expires_at)
        VALUES (pg_backend_pid(), p_id, p_owner, p_node, p_class, p_pool, p_amount, p_expires_at);
    END IF;
    RETURN NULL;
END $$;


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
    PERFORM gate_shared();  -- refuses a transaction that keeps an older snapshot, in which a new limit is unseen
    SELECT array_agg(hold_id) FILTER (WHERE nth = 1) AS holds, array_agg(owner) FILTER (WHERE nth = 1) AS owners,
           array_agg(node_id) FILTER (WHERE nth = 1) AS nodes, array_agg(expires_at) FILTER (WHERE nth = 1) AS dates,
           array_agg(backend) FILTER (WHERE nth = 1) AS backends,
           array_agg(hold_id) AS line_holds, array_agg(node_id) AS line_nodes, array_agg(l.class) AS classes,
           array_agg(l.pool) AS pools, array_agg(l.amount) AS amounts,
           array_agg(owner) AS line_owners, array_agg(expires_at) AS line_dates
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
                INSERT INTO granted (holds, nodes, classes, pools, amounts, owners, deadlines)
                VALUES (w.line_holds, w.line_nodes, w.classes, w.pools, w.amounts, w.line_owners, w.line_dates)
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
    -- An attempt that was undone gave its locks back, and one that met a used id had none: all of them now, in order.
    PERFORM lock_counters(w.line_nodes, w.classes, w.pools);
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


-- One call, one round trip, one hold; outside a transaction block, for it commits. Answers as hold() does.
-- No SECURITY DEFINER and no SET: a procedure that commits may have neither. wish_for writes for it.
CREATE OR REPLACE PROCEDURE quotas.hold_together(
    p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[], p_expires_at timestamptz,
    INOUT p_answer jsonb
) LANGUAGE plpgsql AS $$
DECLARE
    v_group int;
BEGIN
    p_answer := quotas.wish_for(p_id, p_owner, p_node, p_class, p_pool, p_amount, p_expires_at);
    IF p_answer IS NOT NULL THEN
        RETURN;
    END IF;
    COMMIT;  -- to be seen; what only writes an unlogged table waits for no disk

    v_group := quotas.group_that_gathers();
    IF NOT pg_try_advisory_xact_lock(1902458740, v_group) THEN
        PERFORM pg_advisory_xact_lock_shared(1902458740, v_group);  -- all who wait wake at once, after the commit
        SELECT answer INTO p_answer FROM quotas.wish WHERE backend = pg_backend_pid();
        IF p_answer IS NOT NULL THEN
            RETURN;
        END IF;
        -- The leader did not come that far. All of his group come here: one after the other, or each would be in the
        -- other's way for ever.
        COMMIT;
        v_group := quotas.group_that_gathers();
        PERFORM pg_advisory_xact_lock(1902458740, v_group);
    END IF;
    -- The seat of a group that came and went between the look and the lock: its leader has seen our wish.
    IF quotas.group_that_gathers() <> v_group THEN
        SELECT answer INTO p_answer FROM quotas.wish WHERE backend = pg_backend_pid();
        IF p_answer IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    PERFORM pg_advisory_xact_lock(1902458740, 2);
    IF quotas.group_that_gathers() = v_group THEN
        PERFORM nextval('quotas.hold_group');
    END IF;
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit = on;  -- others rely on this commit
    END IF;
    p_answer := quotas.serve_wishes();
END $$;
