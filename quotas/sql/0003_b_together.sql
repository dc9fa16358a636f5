-- Holds of many callers in one transaction: who comes while another is at it leaves a wish, and is served with the rest.
--
-- A hot counter's row is locked until its holder's commit is on disk; one hold a transaction therefore means one flush
-- a hold, one after the other. Here one caller (the server of the moment, whoever takes the baton) counts for all that
-- wait, in one transaction and one flush; then the next takes the baton. No process of ours has to run for that, and any
-- number of broker processes on any machines may call. Nobody is answered before the commit that holds his hold.
--
-- hold() in a larger transaction stays as it is and counts on the same rows beside it.
--
-- Locks: baton (2), then door (3, exclusive), then the gate and counters as in count_on. Who waits holds nothing but,
-- for a look at his answer, the door (shared). All end with their transaction, also when a backend is killed.

-- One row a connection, written over with every call. Unlogged: a wish dies with the server, as its caller's connection
-- does; what was granted is a hold like any other.
CREATE UNLOGGED TABLE quotas.wish (
    backend int CONSTRAINT pk_wish PRIMARY KEY,  -- pg_backend_pid() of who wishes
    hold_id uuid NOT NULL,
    owner uuid NOT NULL,
    node_id uuid NOT NULL,
    classes text[] NOT NULL,
    pools uuid[] NOT NULL,
    amounts bigint[] NOT NULL,
    expires_at timestamptz NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    answer jsonb  -- as hold() gives it
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 5000);


CREATE FUNCTION quotas.wish_for(
    p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[], p_expires_at timestamptz
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
    INSERT INTO wish (backend, hold_id, owner, node_id, classes, pools, amounts, expires_at)
    VALUES (pg_backend_pid(), p_id, p_owner, p_node, p_class, p_pool, p_amount, p_expires_at)
    ON CONFLICT (backend) DO UPDATE
    SET hold_id = excluded.hold_id, owner = excluded.owner, node_id = excluded.node_id, classes = excluded.classes,
        pools = excluded.pools, amounts = excluded.amounts, expires_at = excluded.expires_at,
        asked_at = excluded.asked_at, answer = NULL
$$;


-- The answer to this connection's wish; NULL: not served yet.
CREATE FUNCTION quotas.answer_to(p_id uuid) RETURNS jsonb LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
    SELECT answer FROM wish WHERE backend = pg_backend_pid() AND hold_id = p_id
$$;


-- Serves everybody who waits: first all at once; if that is not possible, one after the other in order of arrival.
-- A wish whose caller gave up ten seconds ago is left alone. Returns the answer to the caller's own.
CREATE FUNCTION quotas.serve_wishes() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    w record;
    v_made uuid[];
    v_refused boolean := true;
    v_answer jsonb := '{"outcome": "ok"}';
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1902458740, 1);  -- the gate
    SELECT array_agg(hold_id) FILTER (WHERE nth = 1) AS holds, array_agg(owner) FILTER (WHERE nth = 1) AS owners,
           array_agg(node_id) FILTER (WHERE nth = 1) AS nodes, array_agg(expires_at) FILTER (WHERE nth = 1) AS dates,
           array_agg(backend) FILTER (WHERE nth = 1) AS backends,
           array_agg(hold_id) AS line_holds, array_agg(node_id) AS line_nodes, array_agg(l.class) AS classes,
           array_agg(l.pool) AS pools, array_agg(l.amount) AS amounts
    INTO w
    FROM wish CROSS JOIN LATERAL unnest(classes, pools, amounts) WITH ORDINALITY AS l (class, pool, amount, nth)
    WHERE answer IS NULL AND (backend = pg_backend_pid() OR asked_at > clock_timestamp() - interval '10 seconds');

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
        INSERT INTO hold_line (hold_id, resource_class, pool_id, amount)
        SELECT * FROM unnest(w.line_holds, w.classes, w.pools, w.amounts);
        UPDATE wish SET answer = v_answer
        FROM unnest(w.backends, w.holds) AS u (backend, hold_id)
        WHERE wish.backend = u.backend AND wish.hold_id = u.hold_id;
        RETURN v_answer;
    END IF;

    DELETE FROM hold WHERE id = ANY (v_made);
    FOR w IN SELECT wish.* FROM wish JOIN unnest(w.backends, w.holds) AS u (backend, hold_id) USING (backend, hold_id)
             ORDER BY asked_at LOOP
        UPDATE wish SET answer =
            hold(w.hold_id, w.owner, w.node_id, w.classes, w.pools, w.amounts, w.expires_at, NULL)
        WHERE backend = w.backend AND hold_id = w.hold_id;
    END LOOP;
    RETURN (SELECT answer FROM wish WHERE backend = pg_backend_pid());
END $$;


-- One call, one round trip, one hold; outside a transaction block, for it commits. Answers as hold() does.
-- No SECURITY DEFINER and no SET: a procedure that commits may have neither.
CREATE PROCEDURE quotas.hold_together(
    p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[], p_expires_at timestamptz,
    INOUT p_answer jsonb
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM quotas.wish_for(p_id, p_owner, p_node, p_class, p_pool, p_amount, p_expires_at);
    IF NOT pg_try_advisory_xact_lock(1902458740, 2) THEN
        -- Somebody is serving. The wish has to be seen, not to be kept: no flush for it.
        SET LOCAL synchronous_commit = off;
        COMMIT;
        LOOP
            PERFORM pg_advisory_xact_lock_shared(1902458740, 3);  -- all who wait wake at once, after the commit
            p_answer := quotas.answer_to(p_id);
            COMMIT;
            IF p_answer IS NOT NULL THEN
                RETURN;
            END IF;
            EXIT WHEN pg_try_advisory_xact_lock(1902458740, 2);
        END LOOP;
    END IF;
    PERFORM pg_advisory_xact_lock(1902458740, 3);
    -- Served between the look and the baton?
    p_answer := quotas.answer_to(p_id);
    IF p_answer IS NULL THEN
        IF current_setting('synchronous_commit') = 'off' THEN
            SET LOCAL synchronous_commit = on;  -- others rely on this commit
        END IF;
        p_answer := quotas.serve_wishes();
    END IF;
END $$;


-- For a transaction that has to count more than once (several holds of one request): until it ends nobody else counts,
-- so that it cannot meet anybody half-way. To be called before its first count.
CREATE FUNCTION quotas.count_alone() RETURNS void LANGUAGE sql
SECURITY DEFINER SET search_path = quotas, pg_temp AS $$ SELECT gate_exclusive() $$;
