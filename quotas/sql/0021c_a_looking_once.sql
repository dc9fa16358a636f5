-- What every holder pays, made less; and who may not count. Frozen once released, like the files before it.

-- A connection's wish, fourth edition. In a transaction of its own every call and expression is prepared anew: a wish of one
-- line, as most are, is therefore looked at here and not by a call (of 17 microseconds, 5).
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


-- The gate, second edition. Behind it everything has to be seen that was committed before: a transaction that sees an older
-- state would miss limits that have come meanwhile, or start a counter without the holds that have.
CREATE OR REPLACE FUNCTION quotas.gate_shared() RETURNS void LANGUAGE plpgsql
SET search_path = quotas, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE 'quotas are counted in READ COMMITTED only' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(1902458740, 1);
END $$;

CREATE OR REPLACE FUNCTION quotas.gate_exclusive() RETURNS void LANGUAGE plpgsql
SET search_path = quotas, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE 'quotas are counted in READ COMMITTED only' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM pg_advisory_xact_lock(1902458740, 1);
END $$;
