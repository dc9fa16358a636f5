-- Who may be at it at one time. The order of all locks stands in quotas/order.py.

-- The gate: shared by who counts, alone for who makes or removes a counter. 1902458740 is 'quot' in ASCII: a class of advisory
-- locks of our own. Behind it everything has to be seen that was committed before: a transaction that sees an older state
-- would miss limits that have come meanwhile, or start a counter without the holds that have.
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


-- A key serves one call at a time, so that the second sees what it was used for: it ended in a unique violation, or in two uses.
CREATE OR REPLACE FUNCTION quotas.one_at_a_time(p_kind text, p_key uuid) RETURNS void LANGUAGE sql
SET search_path = quotas, pg_temp AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('quotas.' || p_kind || p_key, 0))
$$;
