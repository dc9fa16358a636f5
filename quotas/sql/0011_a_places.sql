-- The IPv6 plan, third edition: the same guarantee at half the price, and a claim that others can see. Frozen.
--
-- The exclusion was a GiST index over (domain, prefix): 40 microseconds a row among 10,000 and 75 among a million, and hours
-- to build over what is there. SP-GiST, which takes one column only, is 20 whatever is there, and is built in seconds. The
-- routing domain therefore goes into the address itself (space_of).
--
-- Five CHECKs cost 35 microseconds a row, for the server reads each one's expression anew in every statement; one that calls
-- a function costs 8 and says the same. docs/decisions/0007-ipv6-plan.md has the figures.

-- Where a prefix lies, so that two overlap here exactly if they may not both be live. Unique local space (RFC 4193) is each
-- domain's own: the domain's number comes first, below ::/8, which nobody is given (RFC 4291, 2.4); prefixes end at 64, so
-- that 8 + 32 + 64 bits have room. All other space is given once, whatever the domain: ex_prefix_pool_space says so of
-- the pools. PL/pgSQL, for an SQL function would be inlined, and its expression read anew in every statement.
CREATE FUNCTION quotas.space_of(p_domain int, p_prefix cidr) RETURNS inet
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF p_prefix <<= 'fc00::/7' THEN
        RETURN set_masklen(regexp_replace(
            '00' || lpad(to_hex(p_domain), 8, '0') || encode(substr(inet_send(p_prefix), 5, 8), 'hex') || '000000',
            '(....)(?!$)', '\1:', 'g')::inet, masklen(p_prefix) + 40);
    END IF;
    RETURN p_prefix;
END $$;

CREATE FUNCTION quotas.is_well_formed(p_prefix cidr, p_state text, p_until timestamptz, p_label text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN family(p_prefix) = 6 AND masklen(p_prefix) <= 64 AND length(p_label) <= 200
       AND CASE p_state WHEN 'active' THEN true WHEN 'held' THEN true
                        WHEN 'quarantined' THEN p_until IS NOT NULL
                        WHEN 'reserved' THEN p_label <> ''
                        WHEN 'freed' THEN true WHEN 'spent' THEN true
                        ELSE false END;
END $$;

ALTER TABLE quotas.prefix_allocation
    DROP CONSTRAINT ex_prefix_allocation_overlap,
    DROP CONSTRAINT ck_prefix_allocation_state,
    DROP CONSTRAINT ck_prefix_allocation_until,
    DROP CONSTRAINT ck_prefix_allocation_label,
    DROP CONSTRAINT ck_prefix_allocation_reason,
    DROP CONSTRAINT ck_prefix_allocation_prefix,
    ADD CONSTRAINT ck_prefix_allocation_well_formed CHECK (quotas.is_well_formed(prefix, state, until, label)),
    ADD CONSTRAINT ex_prefix_allocation_overlap EXCLUDE USING spgist (quotas.space_of(domain_id, prefix) inet_ops WITH &&)
        WHERE (state IN ('held', 'active', 'quarantined', 'reserved'));


CREATE OR REPLACE FUNCTION quotas.is_reserved(p_domain int, p_prefix cidr) RETURNS boolean LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT EXISTS (SELECT FROM prefix_allocation
                   WHERE space_of(domain_id, prefix) && space_of(p_domain, p_prefix) AND state = 'reserved'
                   AND state IN ('held', 'active', 'quarantined', 'reserved'))
$$;

-- Whether one live prefix covers all of a block.
CREATE FUNCTION quotas.is_covered(p_domain int, p_prefix cidr) RETURNS boolean LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT EXISTS (SELECT FROM prefix_allocation
                   WHERE space_of(domain_id, prefix) >>= space_of(p_domain, p_prefix)
                   AND state IN ('held', 'active', 'quarantined', 'reserved'))
$$;

-- What is in the way of a block: at most p_limit live prefixes, in order of address.
CREATE OR REPLACE FUNCTION quotas.in_the_way(p_domain int, p_prefix cidr, p_but uuid, p_limit int) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = quotas, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('prefix', a.prefix, 'state', a.state, 'owner', a.owner, 'label', a.label)
                              ORDER BY a.prefix), '[]')
    FROM (SELECT * FROM prefix_allocation
          WHERE space_of(domain_id, prefix) && space_of(p_domain, p_prefix) AND id IS DISTINCT FROM p_but
          AND state IN ('held', 'active', 'quarantined', 'reserved')
          ORDER BY prefix LIMIT p_limit) AS a
$$;

-- The length of the largest block that is free in a pool; NULL: nothing is.
CREATE OR REPLACE FUNCTION quotas.what_fits(p_domain int, p_pool uuid, p_base cidr) RETURNS int LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT 65 - length(ltrim(largest_gap(p_pool, 0, 1::bigint << (64 - masklen(p_base)))::bit(64)::text, '0'))
    WHERE NOT is_covered(p_domain, p_base)
$$;


-- The gaps between live prefixes of a pool within [p_from, p_to), in order of address; an empty gap may be among them.
-- p_from lies in no live prefix.
CREATE FUNCTION quotas.gaps(p_pool uuid, p_from bigint, p_to bigint) RETURNS TABLE (begins bigint, ends bigint)
LANGUAGE sql STABLE AS $$
    SELECT p_from, coalesce(min(first_64), p_to) FROM quotas.prefix_allocation
    WHERE pool_id = p_pool AND first_64 >= p_from AND first_64 < p_to
    AND state IN ('held', 'active', 'quarantined', 'reserved')
    UNION ALL
    SELECT first_64 + count_64, lead(first_64, 1, p_to) OVER (ORDER BY first_64) FROM quotas.prefix_allocation
    WHERE pool_id = p_pool AND first_64 >= p_from AND first_64 < p_to
    AND state IN ('held', 'active', 'quarantined', 'reserved')
$$;

-- The size in /64s of the largest aligned block that is free within [p_from, p_to) of a pool; NULL: nothing is.
-- A gap of 2^k to 2^(k+1)-1 holds an aligned block of 2^k if it lies well, and one of 2^(k-1) wherever it lies. So only gaps
-- of half the largest one's power and more are looked at closely: a quarter of the time over a million.
CREATE OR REPLACE FUNCTION quotas.largest_gap(p_pool uuid, p_from bigint, p_to bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = quotas, pg_temp AS $$
DECLARE
    v_largest bigint;
    v_power bigint;
BEGIN
    SELECT max(ends - begins) INTO v_largest FROM gaps(p_pool, p_from, p_to);
    IF v_largest <= 0 THEN
        RETURN NULL;
    END IF;
    v_power := 1::bigint << (length(ltrim(v_largest::bit(64)::text, '0')) - 1);
    IF EXISTS (SELECT FROM gaps(p_pool, p_from, p_to)
               WHERE ends - begins >= v_power AND (begins + v_power - 1) / v_power * v_power + v_power <= ends) THEN
        RETURN v_power;
    END IF;
    RETURN greatest(v_power / 2, 1);
END $$;
