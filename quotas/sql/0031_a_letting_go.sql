-- What others are in the way of is given up sooner. Frozen once released, like the files before it; migration 0031_letting_go
-- executes it as it stands.

-- As before (0011_b_claiming.sql). Who waits here has written something: in an assessment, the counters that others wait for. A
-- flush is over in 10 ms; for what takes longer he is told "busy" and begins anew without them. It was 50.
CREATE OR REPLACE FUNCTION quotas.place_guarded(p_wish quotas.prefix_wish, p_first bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp SET lock_timeout = '10ms' AS $$
BEGIN
    RETURN place_claimed(p_wish, p_first);
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END $$;


-- Keeps a range free until it is lifted: no prefix and no pool is made there. The range lies in one pool, or covers pools. As
-- before (0011_c_growing.sql), and a claim whose range was refused is given back at once (with its subtransaction): until
-- the transaction's end others had taken it for a prefix.
CREATE OR REPLACE FUNCTION quotas.reserve(p_id uuid, p_domain text, p_prefix cidr, p_reason text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_domain int;
    v_answer jsonb;
BEGIN
    SELECT id INTO v_domain FROM routing_domain WHERE code = p_domain FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_domain');
    END IF;
    BEGIN
        PERFORM pg_try_advisory_xact_lock(claim_of(v_domain, p_prefix));  -- for others to see
        v_answer := take_place(p_id, v_domain, p_id, p_prefix, 'reserved', NULL, p_reason);
        IF v_answer ->> 'outcome' <> 'ok' THEN
            RAISE SQLSTATE 'GY001';
        END IF;
    EXCEPTION WHEN SQLSTATE 'GY001' THEN
        RETURN v_answer;
    END;
    RETURN shown(p_id);
END $$;
