-- What happens to prefixes after they were handed out, and what operators do: give back, grow, reserve, lift, take over.

-- Gives back what an owner has: active rests until p_until, held is free at once. Told apart when there is nothing to give:
-- not_yours (somebody else has that prefix), gone (given back before), unknown.
CREATE FUNCTION quotas.give_back(p_owner uuid, p_prefix cidr, p_until timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    UPDATE prefix_allocation
    SET state = CASE state WHEN 'active' THEN 'quarantined' ELSE 'freed' END,
        until = CASE state WHEN 'active' THEN p_until END, changed_at = clock_timestamp()
    WHERE owner = p_owner AND state IN ('held', 'active') AND (p_prefix IS NULL OR prefix = p_prefix);
    IF FOUND THEN
        RETURN shown(p_owner);
    ELSIF EXISTS (SELECT FROM prefix_allocation WHERE owner = p_owner AND prefix = p_prefix AND state = 'reserved') THEN
        RETURN jsonb_build_object('outcome', 'gone', 'state', 'reserved');
    ELSIF EXISTS (SELECT FROM prefix_allocation WHERE prefix = p_prefix AND owner <> p_owner
                  AND state IN ('held', 'active', 'reserved')) THEN
        RETURN jsonb_build_object('outcome', 'not_yours');
    END IF;
    RETURN coalesce(
        (SELECT jsonb_build_object('outcome', 'gone', 'state', state) FROM prefix_allocation
         WHERE owner = p_owner AND (p_prefix IS NULL OR prefix = p_prefix) AND state IN ('quarantined', 'freed', 'spent')
         ORDER BY changed_at DESC LIMIT 1),
        jsonb_build_object('outcome', 'unknown'));
END $$;


-- What is in the way of a block: at most p_limit live prefixes, in order of address.
CREATE FUNCTION quotas.in_the_way(p_domain int, p_prefix cidr, p_but uuid, p_limit int) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = quotas, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('prefix', a.prefix, 'state', a.state, 'owner', a.owner, 'label', a.label)
                              ORDER BY a.prefix), '[]')
    FROM (SELECT * FROM prefix_allocation
          WHERE domain_id = p_domain AND prefix && p_prefix AND id IS DISTINCT FROM p_but
          AND state IN ('held', 'active', 'quarantined', 'reserved')
          ORDER BY prefix LIMIT p_limit) AS a
$$;


-- The owner's prefix becomes shorter where it is. Blocked: what is in the way, and the shortest length that would fit.
CREATE FUNCTION quotas.grow(p_owner uuid, p_length int) RETURNS jsonb
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
CREATE FUNCTION quotas.reserve(p_id uuid, p_domain text, p_prefix cidr, p_reason text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_domain int;
    v_answer jsonb;
BEGIN
    SELECT id INTO v_domain FROM routing_domain WHERE code = p_domain FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_domain');
    END IF;
    v_answer := take_place(p_id, v_domain, p_id, p_prefix, 'reserved', NULL, p_reason);
    RETURN CASE WHEN v_answer ->> 'outcome' = 'ok' THEN shown(p_id) ELSE v_answer END;
END $$;


-- The range may be handed out again.
CREATE FUNCTION quotas.lift(p_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    UPDATE prefix_allocation SET state = 'freed', changed_at = clock_timestamp() WHERE owner = p_id AND state = 'reserved';
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'gone', 'state', coalesce(shown(p_id) ->> 'state', 'unknown'));
    END IF;
    RETURN shown(p_id);
END $$;


-- Takes exactly this place, in the deepest pool around it. The same again: "same".
CREATE FUNCTION quotas.take_place(
    p_id uuid, p_domain int, p_owner uuid, p_prefix cidr, p_state text, p_until timestamptz, p_label text
) RETURNS jsonb
LANGUAGE plpgsql SET search_path = quotas, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    v_pool prefix_pool;
    v_other prefix_allocation;
BEGIN
    SELECT * INTO v_pool FROM prefix_pool WHERE domain_id = p_domain AND prefix >>= p_prefix ORDER BY depth DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'outside');
    ELSIF NOT v_pool.hands_out AND p_state <> 'reserved' THEN
        RETURN jsonb_build_object('outcome', 'hands_out_nothing', 'pool', v_pool.prefix);
    END IF;
    BEGIN
        INSERT INTO prefix_allocation (id, pool_id, domain_id, owner, prefix, first_64, count_64, state, until, label)
        VALUES (p_id, v_pool.id, p_domain, p_owner, p_prefix, place_of(v_pool.prefix, p_prefix),
                1::bigint << (64 - masklen(p_prefix)), p_state, p_until, p_label)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN jsonb_build_object('outcome', 'ok', 'pool', v_pool.prefix);
        END IF;
    EXCEPTION WHEN lock_not_available THEN
        RETURN jsonb_build_object('outcome', 'busy');
    END;
    SELECT * INTO v_other FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active', 'reserved');
    IF v_other.prefix = p_prefix AND v_other.domain_id = p_domain THEN
        RETURN jsonb_build_object('outcome', 'same', 'pool', v_pool.prefix, 'state', v_other.state);
    ELSIF v_other.id IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'has_another', 'prefix', v_other.prefix);
    ELSIF EXISTS (SELECT FROM prefix_allocation WHERE id = p_id) THEN
        RETURN jsonb_build_object('outcome', 'id_taken');
    END IF;
    RETURN jsonb_build_object('outcome', 'overlaps', 'by', in_the_way(p_domain, p_prefix, NULL, 5));
END $$;

-- How many /64s after the start of p_base p_prefix begins: the inverse of prefix_at.
CREATE FUNCTION quotas.place_of(p_base cidr, p_prefix cidr) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ('x' || substr(encode(substr(inet_send(network(p_prefix)), 5, 8), 'hex'), 1, 16))::bit(64)::bigint
         - ('x' || substr(encode(substr(inet_send(network(p_base)), 5, 8), 'hex'), 1, 16))::bit(64)::bigint
$$;


-- Existing prefixes, in the given order: [{"n", "id", "domain", "owner", "prefix", "state", "until", "label"}]. One answer a
-- line; the caller undoes all of it when one line is not what he wants. One import at a time.
CREATE FUNCTION quotas.take_over(p_lines jsonb) RETURNS TABLE (n int, answer jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_line record;
    v_domain int;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('quotas.take_over', 0));
    FOR v_line IN SELECT * FROM jsonb_to_recordset(p_lines) AS l (
        n int, id uuid, domain text, owner uuid, prefix cidr, state text, until timestamptz, label text)
    LOOP
        n := v_line.n;
        SELECT d.id INTO v_domain FROM routing_domain d WHERE d.code = v_line.domain;
        answer := CASE WHEN v_domain IS NULL THEN jsonb_build_object('outcome', 'no_domain') ELSE
            take_place(v_line.id, v_domain, v_line.owner, v_line.prefix, v_line.state, v_line.until, v_line.label) END;
        RETURN NEXT;
    END LOOP;
END $$;
