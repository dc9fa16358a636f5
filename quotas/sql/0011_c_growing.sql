-- Growth and reservations as in 0004_c_operating.sql, each with its claim (0011_b_claiming.sql); and the rights of what is new.

-- The owner's prefix becomes shorter where it is. Blocked: what is in the way, and the shortest length that would fit.
CREATE OR REPLACE FUNCTION quotas.grow(p_owner uuid, p_length int) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    v_mine prefix_allocation;
    v_base cidr;
    v_whole cidr;
    v_fits int;
BEGIN
    BEGIN
        SELECT * INTO v_mine FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active') FOR UPDATE;
        IF NOT FOUND THEN
            RETURN jsonb_build_object('outcome', 'gone', 'state', coalesce(shown(p_owner) ->> 'state', 'unknown'));
        ELSIF masklen(v_mine.prefix) = p_length THEN
            RETURN shown(p_owner);
        END IF;
        SELECT prefix INTO v_base FROM prefix_pool WHERE id = v_mine.pool_id;
        IF p_length > masklen(v_mine.prefix) OR p_length < masklen(v_base) THEN
            RETURN jsonb_build_object('outcome', CASE WHEN p_length < masklen(v_base) THEN 'too_short' ELSE 'too_long' END);
        END IF;
        v_whole := network(set_masklen(v_mine.prefix::inet, p_length));
        IF in_the_way(v_mine.domain_id, v_whole, v_mine.id, 1) = '[]' THEN
            PERFORM pg_try_advisory_xact_lock(claim_of(v_mine.domain_id, v_whole));  -- for others to see
            UPDATE prefix_allocation
            SET prefix = v_whole, count_64 = 1::bigint << (64 - p_length), changed_at = clock_timestamp(),
                first_64 = first_64 >> (64 - p_length) << (64 - p_length)
            WHERE id = v_mine.id;
            RETURN shown(p_owner);
        END IF;
    EXCEPTION WHEN exclusion_violation OR lock_not_available THEN
        IF v_mine.id IS NULL THEN
            RETURN jsonb_build_object('outcome', 'busy');
        END IF;  -- somebody is taking or took a place beside it at this moment
    END;
    FOR n IN REVERSE masklen(v_mine.prefix) - 1 .. p_length + 1 LOOP
        EXIT WHEN in_the_way(v_mine.domain_id, network(set_masklen(v_mine.prefix::inet, n)), v_mine.id, 1) <> '[]';
        v_fits := n;
    END LOOP;
    RETURN jsonb_build_object('outcome', 'blocked', 'fits', v_fits,
                              'by', in_the_way(v_mine.domain_id, v_whole, v_mine.id, 5));
END $$;


-- Keeps a range free until it is lifted: no prefix and no pool is made there. The range lies in one pool, or covers pools.
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
    PERFORM pg_try_advisory_xact_lock(claim_of(v_domain, p_prefix));  -- for others to see
    v_answer := take_place(p_id, v_domain, p_id, p_prefix, 'reserved', NULL, p_reason);
    RETURN CASE WHEN v_answer ->> 'outcome' = 'ok' THEN shown(p_id) ELSE v_answer END;
END $$;


REVOKE ALL ON FUNCTION
    quotas.space_of, quotas.is_well_formed, quotas.is_covered, quotas.gaps, quotas.claim_of, quotas.taken_until,
    quotas.place_claimed
FROM PUBLIC;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        RETURN;  -- a database with a single role
    END IF;
    REVOKE ALL ON FUNCTION
        quotas.space_of, quotas.is_well_formed, quotas.is_covered, quotas.gaps, quotas.claim_of, quotas.taken_until,
        quotas.place_claimed
    FROM guiyun_app;
    GRANT EXECUTE ON FUNCTION quotas.space_of TO guiyun_app;  -- to look where the exclusion's index looks
END $$;
