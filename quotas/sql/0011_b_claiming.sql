-- Handing out a prefix, third edition; how and why nothing deadlocks: 0004_b_allocating.sql. What is new: who takes a place says
-- so by an advisory lock on the prefix itself, which others can read in pg_locks before there is a row that they may see.
-- So whoever looks for a place passes by somebody's uncommitted /46 in one step, not place by place. Imports and
-- allocate_many claim nothing, for a transaction has room for a limited number of locks: they are met by waiting 50 ms,
-- then by steps that grow; if a place was left out because of that, the answer is "busy" and not "full".

CREATE FUNCTION quotas.claim_of(p_domain int, p_prefix cidr) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT hashtextextended(p_prefix::text, p_domain)
$$;


-- Where the thing ends that is in the way of a place, in /64s from the pool's start: a live prefix, or a block around the place
-- that another transaction has claimed. NULL: nothing that can be seen.
CREATE FUNCTION quotas.taken_until(p_wish quotas.prefix_wish, p_first bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_prefix cidr := prefix_at(p_wish.base, p_wish.length, p_first);
    v_until bigint;
    v_length int;
BEGIN
    SELECT max(place_of(p_wish.base, prefix) + (1::bigint << (64 - masklen(prefix)))) INTO v_until FROM prefix_allocation
    WHERE space_of(domain_id, prefix) && space_of(p_wish.domain_id, v_prefix) AND masklen(prefix) >= masklen(p_wish.base)
    AND state IN ('held', 'active', 'quarantined', 'reserved');
    SELECT min(length) INTO v_length
    FROM (SELECT n AS length, claim_of(p_wish.domain_id, network(set_masklen(v_prefix::inet, n))) AS key
          FROM generate_series(8, p_wish.length) AS n) AS around
    JOIN pg_locks l ON l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.pid <> pg_backend_pid()
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND l.classid = (key >> 32 & 4294967295)::oid AND l.objid = (key & 4294967295)::oid;
    IF v_length <= masklen(p_wish.base) THEN
        RETURN 1::bigint << (64 - masklen(p_wish.base));
    END IF;
    RETURN greatest(v_until, ((p_first >> (64 - v_length)) + 1) << (64 - v_length));
END $$;


-- Tries to take one place. False: it overlaps a live prefix, or somebody is taking it at this moment; NULL: somebody is, and it
-- cannot be seen how far his reaches. Only who has written nothing yet waits for others (0004_b_allocating.sql).
CREATE OR REPLACE FUNCTION quotas.place(p_wish quotas.prefix_wish, p_first bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
BEGIN
    IF p_wish.empty_handed THEN
        RETURN place_claimed(p_wish, p_first);
    END IF;
    RETURN taken_until(p_wish, p_first) IS NULL AND place_guarded(p_wish, p_first);
END $$;


-- A claim whose row could not be made is given back at once (with its subtransaction): others would take it for a prefix.
CREATE FUNCTION quotas.place_claimed(p_wish quotas.prefix_wish, p_first bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_prefix cidr := prefix_at(p_wish.base, p_wish.length, p_first);
BEGIN
    IF NOT pg_try_advisory_xact_lock(claim_of(p_wish.domain_id, v_prefix)) THEN
        RETURN false;
    END IF;
    INSERT INTO prefix_allocation (id, pool_id, domain_id, owner, prefix, first_64, count_64, state, until, label)
    VALUES (p_wish.id, p_wish.pool_id, p_wish.domain_id, p_wish.owner, v_prefix,
            p_first, 1::bigint << (64 - p_wish.length), p_wish.state, p_wish.until, p_wish.label)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE SQLSTATE 'GY001';
    END IF;
    RETURN true;
EXCEPTION WHEN SQLSTATE 'GY001' THEN
    RETURN false;
END $$;


CREATE OR REPLACE FUNCTION quotas.place_guarded(p_wish quotas.prefix_wish, p_first bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp SET lock_timeout = '50ms' AS $$
BEGIN
    RETURN place_claimed(p_wish, p_first);
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END $$;


-- 2. Up to 64 more untouched places. True when the owner has a prefix afterwards, by this call or another one.
CREATE OR REPLACE FUNCTION quotas.place_untouched(p_wish quotas.prefix_wish) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_bits int := p_wish.length - masklen(p_wish.base);
    v_cursor prefix_cursor;
    v_shard smallint;
    v_waited boolean := NOT p_wish.empty_handed;
    v_tries int := 0;
    v_placed boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM prefix_cursor WHERE pool_id = p_wish.pool_id AND length = p_wish.length) THEN
        PERFORM make_cursors(p_wish.pool_id, p_wish.base, p_wish.length);
    END IF;
    WHILE v_tries < 64 LOOP
        SELECT * INTO v_cursor FROM prefix_cursor
        WHERE pool_id = p_wish.pool_id AND length = p_wish.length AND next < size
        ORDER BY next, shard LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            EXIT WHEN v_waited;  -- all are taken or used up: wait for one, once
            v_waited := true;
            SELECT shard INTO v_shard FROM prefix_cursor
            WHERE pool_id = p_wish.pool_id AND length = p_wish.length AND next < size ORDER BY random() LIMIT 1;
            SELECT * INTO v_cursor FROM prefix_cursor
            WHERE pool_id = p_wish.pool_id AND length = p_wish.length AND shard = v_shard AND next < size FOR UPDATE;
            EXIT WHEN NOT FOUND;
        END IF;
        v_placed := place(p_wish, slot(v_bits, v_cursor.shard, v_cursor.next, p_wish.length));
        v_tries := v_tries + CASE WHEN v_placed IS NULL THEN 16 ELSE 1 END;  -- four waits of 50 ms
        IF v_placed IS NOT TRUE AND has_prefix(p_wish.owner) THEN
            RETURN true;  -- the same owner asked twice at once; the other call was faster
        END IF;
        UPDATE prefix_cursor SET next = v_cursor.next + 1
        WHERE pool_id = p_wish.pool_id AND length = p_wish.length AND shard = v_cursor.shard;
        IF v_placed THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END $$;


-- 3. What was freed, the one that has rested longest first. A freed row is spent when live prefixes fill it.
CREATE OR REPLACE FUNCTION quotas.place_freed(p_wish quotas.prefix_wish) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_count bigint := 1::bigint << (64 - p_wish.length);
    v_freed prefix_allocation;
    v_seen prefix_allocation;
    v_whole cidr;
    v_placed boolean;
BEGIN
    v_seen.count_64 := v_count;
    v_seen.changed_at := '-infinity';
    v_seen.id := '00000000-0000-0000-0000-000000000000';
    FOR n IN 1 .. 64 LOOP  -- of this length, then larger ones (split), smallest first; others pass by the one we look at
        SELECT * INTO v_freed FROM prefix_allocation
        WHERE pool_id = p_wish.pool_id AND state = 'freed'
        AND (count_64, changed_at, id) > (v_seen.count_64, v_seen.changed_at, v_seen.id)
        ORDER BY count_64, changed_at, id LIMIT 1 FOR UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        v_seen := v_freed;
        v_placed := place_in_gaps(p_wish, v_freed.first_64, v_freed.first_64 + v_freed.count_64);
        IF v_placed OR has_prefix(p_wish.owner) THEN
            IF v_freed.count_64 = v_count THEN
                UPDATE prefix_allocation SET state = 'spent' WHERE id = v_freed.id;
            END IF;
            RETURN true;
        ELSIF is_covered(p_wish.domain_id, v_freed.prefix)
              OR largest_gap(p_wish.pool_id, v_freed.first_64, v_freed.first_64 + v_freed.count_64) IS NULL THEN
            UPDATE prefix_allocation SET state = 'spent' WHERE id = v_freed.id;
        END IF;
        EXIT WHEN v_placed IS NULL;  -- he who works here is met again in the gaps
    END LOOP;
    FOR v_freed IN  -- smaller ones, largest first: the block around it, if that is free as a whole
        SELECT * FROM prefix_allocation
        WHERE pool_id = p_wish.pool_id AND count_64 < v_count AND state = 'freed'
        ORDER BY count_64 DESC, changed_at LIMIT 64
    LOOP
        v_whole := network(set_masklen(v_freed.prefix::inet, p_wish.length));
        CONTINUE WHEN in_the_way(p_wish.domain_id, v_whole, NULL, 1) <> '[]';
        v_placed := place(p_wish, v_freed.first_64 / v_count * v_count);
        IF v_placed OR has_prefix(p_wish.owner) THEN
            RETURN true;
        END IF;
        EXIT WHEN v_placed IS NULL;
    END LOOP;
    RETURN false;
END $$;


-- 4. Any gap that begins within [p_from, p_to), in order of address; stops at the first place it gets. False: there is none.
-- NULL: there may be one among the places passed by because somebody, unseen, works among them.
CREATE OR REPLACE FUNCTION quotas.place_in_gaps(p_wish quotas.prefix_wish, p_from bigint, p_to bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_count bigint := 1::bigint << (64 - p_wish.length);
    v_start bigint;  -- where the live prefix that covers p_from ends
    v_gap record;
    v_first bigint;
    v_placed boolean;
    v_until bigint;
    v_step bigint := v_count;
    v_waits int := 0;
    v_passed_by boolean := false;
BEGIN
    SELECT greatest(p_from, first_64 + count_64) INTO v_start FROM prefix_allocation
    WHERE pool_id = p_wish.pool_id AND first_64 <= p_from AND state IN ('held', 'active', 'quarantined', 'reserved')
    ORDER BY first_64 DESC LIMIT 1;
    <<walk>>
    FOR v_gap IN
        SELECT (begins + v_count - 1) / v_count * v_count AS begins, ends
        FROM gaps(p_wish.pool_id, coalesce(v_start, p_from), p_to)
        WHERE (begins + v_count - 1) / v_count * v_count + v_count <= ends
    LOOP
        v_first := v_gap.begins;
        WHILE v_first + v_count <= v_gap.ends LOOP
            v_placed := place(p_wish, v_first);
            IF v_placed OR has_prefix(p_wish.owner) THEN
                RETURN true;  -- or the same owner asked twice at once, and the other call was faster
            END IF;
            v_until := taken_until(p_wish, v_first);
            IF v_until IS NOT NULL THEN
                v_first := (v_until + v_count - 1) / v_count * v_count;
                CONTINUE;
            END IF;
            v_waits := v_waits + 1;
            EXIT walk WHEN v_waits = 10;
            CONTINUE WHEN v_placed IS NOT NULL;  -- who was in the way has gone meanwhile: once more
            -- Unseen. Prefixes are aligned: it ends where a block of some size around this place ends. First one place at a
            -- time, for most are small; then in steps that grow.
            v_step := CASE WHEN v_waits <= 3 THEN v_count ELSE v_step * 16 END;
            v_passed_by := v_passed_by OR v_step > v_count;
            v_first := (v_first / v_step + 1) * v_step;
        END LOOP;
    END LOOP;
    RETURN CASE WHEN v_passed_by OR v_waits = 10 THEN NULL ELSE false END;
END $$;


-- Everything but the quick way. True when the owner has a prefix afterwards; NULL: see place_in_gaps.
CREATE OR REPLACE FUNCTION quotas.find_place(p_wish quotas.prefix_wish) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_size bigint := 1::bigint << (64 - masklen(p_wish.base));
BEGIN
    IF is_covered(p_wish.domain_id, p_wish.base) THEN
        RETURN false;  -- reserved as a whole (or handed out as a whole)
    ELSIF place_untouched(p_wish) OR place_freed(p_wish)
          -- From anywhere first, so that writers do not all look into the same gap.
          OR place_in_gaps(p_wish, floor(random() * v_size)::bigint, v_size) THEN
        RETURN true;
    END IF;
    RETURN place_in_gaps(p_wish, 0, v_size);
END $$;


-- One round trip, and as few statements as it takes: each costs more to set up than to run. The same owner again: the same
-- prefix (a hold's date is moved). Full: the longest free block that fits. New: only what the caller does not know.
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
    RETURN CASE WHEN v_found THEN again(p_pool, p_owner, p_length, p_until)
                WHEN v_found IS NULL THEN jsonb_build_object('outcome', 'busy')
                ELSE jsonb_build_object('outcome', 'full', 'fits', what_fits(v_domain, p_pool, v_base)) END;
END $$;
