-- A prefix is handed out, grows where it is, or is kept from being handed out.

-- One round trip, and as few statements as it takes: each costs more to set up than to run. The same owner again: the same
-- prefix (a hold's date is moved). Full: the longest free block that fits. Busy: once more. New: only what the caller does
-- not know.
CREATE OR REPLACE FUNCTION quotas.allocate(
    p_id uuid, p_pool uuid, p_owner uuid, p_length int, p_until timestamptz, p_state text, p_label text
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_empty_handed boolean := pg_current_xact_id_if_assigned() IS NULL;
    v_domain int;
    v_base cidr;
    v_hands_out boolean;
    v_zone text;
    v_code text;
    v_shard smallint;
    v_next bigint;
    v_prefix cidr;
    v_first bigint;
    v_found boolean;
    v_fits int;
BEGIN
    SELECT p.prefix, p.domain_id, p.hands_out, d.code, d.zone INTO v_base, v_domain, v_hands_out, v_code, v_zone
    FROM prefix_pool p JOIN routing_domain d ON d.id = p.domain_id WHERE p.id = p_pool;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_pool');
    ELSIF NOT v_hands_out THEN
        RETURN jsonb_build_object('outcome', 'hands_out_nothing');
    ELSIF p_length < masklen(v_base) OR p_length > 64 THEN
        RETURN jsonb_build_object('outcome', 'bad_length');
    END IF;
    IF v_empty_handed THEN
        -- By key, not by ctid: the row may have got a newer version between the look and the lock.
        UPDATE prefix_cursor SET next = next + 1
        WHERE pool_id = p_pool AND length = p_length AND shard = (
            SELECT shard FROM prefix_cursor WHERE pool_id = p_pool AND length = p_length AND next < size
            ORDER BY next, shard LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING shard, next - 1 INTO v_shard, v_next;
    END IF;
    IF v_next IS NOT NULL THEN
        v_first := slot(p_length - masklen(v_base), v_shard, v_next, p_length);
        v_prefix := prefix_at(v_base, p_length, v_first);
        IF pg_try_advisory_xact_lock(hashtextextended(v_prefix::text, v_domain)) THEN  -- claim_of
            INSERT INTO prefix_allocation (id, pool_id, domain_id, owner, prefix, first_64, count_64, state, until, label)
            VALUES (p_id, p_pool, v_domain, p_owner, v_prefix, v_first, 1::bigint << (64 - p_length), p_state, p_until, p_label)
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                RETURN jsonb_build_object('outcome', 'new', 'prefix', v_prefix, 'routing_domain', v_code, 'zone', v_zone);
            END IF;
        END IF;
    END IF;
    IF has_prefix(p_owner) THEN  -- nothing was taken: the place stays untouched
        UPDATE prefix_cursor SET next = v_next WHERE pool_id = p_pool AND length = p_length AND shard = v_shard;
        RETURN again(p_pool, p_owner, p_length, p_until);
    END IF;
    v_found := find_place((p_id, p_pool, v_domain, v_base, p_owner, p_length, p_state, p_until, p_label, v_empty_handed));
    IF v_found THEN
        RETURN again(p_pool, p_owner, p_length, p_until);
    ELSIF NOT v_found THEN
        v_fits := what_fits(v_domain, p_pool, v_base);
        IF v_fits IS NULL OR v_fits > p_length THEN
            RETURN jsonb_build_object('outcome', 'full', 'fits', v_fits);
        END IF;  -- one was given back while we looked
    END IF;
    RETURN jsonb_build_object('outcome', 'busy');
END $$;


-- The owner's prefix becomes shorter where it is. Blocked: what is in the way, and the shortest length that would fit. Busy:
-- what is in the way is not committed.
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
        ELSIF in_the_way(v_mine.domain_id, v_whole, v_mine.id, 1) = '[]' THEN
            RETURN jsonb_build_object('outcome', 'busy');  -- somebody is taking a place beside it at this moment
        END IF;  -- somebody took one
    END;
    FOR n IN REVERSE masklen(v_mine.prefix) - 1 .. p_length + 1 LOOP
        EXIT WHEN in_the_way(v_mine.domain_id, network(set_masklen(v_mine.prefix::inet, n)), v_mine.id, 1) <> '[]';
        v_fits := n;
    END LOOP;
    RETURN jsonb_build_object('outcome', 'blocked', 'fits', v_fits,
                              'by', in_the_way(v_mine.domain_id, v_whole, v_mine.id, 5));
END $$;


-- Keeps a range free until it is lifted: no prefix and no pool is made there. The range lies in one pool, or covers pools. A claim
-- whose range was refused is given back at once (with its subtransaction): until the transaction's end others had taken it
-- for a prefix.
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
