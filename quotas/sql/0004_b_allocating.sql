-- Handing out a prefix. One writer's way, in this order:
--   1. untouched space, from the shard that got furthest behind and that nobody holds (allocate itself: three statements);
--   2. a few more untouched places, if those were taken by other lengths or an import;
--   3. what was freed: of this length, larger (split), smaller (merged with what is free beside it);
--   4. the gaps between live prefixes, which is exact: "full" is only said after this one.
-- Cursors and freed rows are hints, so that nothing depends on them: whatever they miss, the gaps find.
--
-- Why no deadlock: the same place at the same length is taken by one (advisory try-lock, not waited for). Places of different
-- lengths that overlap meet in the exclusion constraint, which waits for the other transaction. Who has written nothing yet
-- may wait: nobody waits for him but for a cursor, and cursors are waited for with empty hands only. Who has written
-- something waits 50 ms and passes by (place_guarded).

DROP FUNCTION quotas.allocate(uuid, uuid, uuid, int, timestamptz);
DROP FUNCTION quotas.find_place(quotas.prefix_pool, uuid, uuid, int, timestamptz);
DROP FUNCTION quotas.place(quotas.prefix_pool, uuid, uuid, int, bigint, timestamptz);
DROP FUNCTION quotas.gaps(quotas.prefix_pool, bigint);

-- What somebody wants to have placed.
CREATE TYPE quotas.prefix_wish AS (
    id uuid, pool_id uuid, domain_id int, base cidr, owner uuid, length int, state text, until timestamptz, label text,
    empty_handed boolean
);

-- The place that a shard hands out as its n-th, in /64s from the pool's start. The shard's slice comes first (in reversed
-- bits, so that the first shards lie furthest apart); within it each prefix halves one of the largest gaps: the start, the
-- middle, the quarters, the eighths ... RFC 3531 goes through each such generation in reversed bits too; here it is in order
-- of address, which is as sparse and lets a writer's next row fall on the index page that holds the last one.
CREATE FUNCTION quotas.slot(p_bits int, p_shard int, p_next bigint, p_length int) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    v_shard_bits int := least(4, p_bits);
    v_slice bigint := quotas.reversed_bits(p_shard, v_shard_bits) << (p_bits - v_shard_bits);
    v_generation int;
BEGIN
    IF p_next = 0 THEN
        RETURN v_slice << (64 - p_length);
    END IF;
    v_generation := length(ltrim(p_next::bit(64)::text, '0'));  -- as many bits as the number has
    RETURN (v_slice + ((2 * (p_next - (1::bigint << (v_generation - 1))) + 1) << (p_bits - v_shard_bits - v_generation)))
           << (64 - p_length);
END $$;


-- Tries to take one place. False: it overlaps a live prefix, or somebody is taking it at this moment.
CREATE FUNCTION quotas.place(p_wish quotas.prefix_wish, p_first bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(p_wish.pool_id::text || p_wish.length, p_first)) THEN
        RETURN false;
    ELSIF NOT p_wish.empty_handed THEN
        RETURN place_guarded(p_wish, p_first);
    END IF;
    INSERT INTO prefix_allocation (id, pool_id, domain_id, owner, prefix, first_64, count_64, state, until, label)
    VALUES (p_wish.id, p_wish.pool_id, p_wish.domain_id, p_wish.owner, prefix_at(p_wish.base, p_wish.length, p_first),
            p_first, 1::bigint << (64 - p_wish.length), p_wish.state, p_wish.until, p_wish.label)
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;


-- The same for who must not wait long: he has written something that others may be waiting for.
CREATE FUNCTION quotas.place_guarded(p_wish quotas.prefix_wish, p_first bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp SET lock_timeout = '50ms' AS $$
BEGIN
    INSERT INTO prefix_allocation (id, pool_id, domain_id, owner, prefix, first_64, count_64, state, until, label)
    VALUES (p_wish.id, p_wish.pool_id, p_wish.domain_id, p_wish.owner, prefix_at(p_wish.base, p_wish.length, p_first),
            p_first, 1::bigint << (64 - p_wish.length), p_wish.state, p_wish.until, p_wish.label)
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;


CREATE FUNCTION quotas.has_prefix(p_owner uuid) RETURNS boolean LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT EXISTS (SELECT FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active', 'reserved'))
$$;


-- 2. Up to 64 more untouched places. True when the owner has a prefix afterwards, by this call or another one.
CREATE FUNCTION quotas.place_untouched(p_wish quotas.prefix_wish) RETURNS boolean
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
        v_tries := v_tries + 1;
        v_placed := place(p_wish, slot(v_bits, v_cursor.shard, v_cursor.next, p_wish.length));
        IF NOT v_placed AND has_prefix(p_wish.owner) THEN
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
CREATE FUNCTION quotas.place_freed(p_wish quotas.prefix_wish) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_count bigint := 1::bigint << (64 - p_wish.length);
    v_freed prefix_allocation;
    v_seen prefix_allocation;
    v_whole cidr;
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
        IF place_in_gaps(p_wish, v_freed.first_64, v_freed.first_64 + v_freed.count_64) OR has_prefix(p_wish.owner) THEN
            IF v_freed.count_64 = v_count THEN
                UPDATE prefix_allocation SET state = 'spent' WHERE id = v_freed.id;
            END IF;
            RETURN true;
        ELSIF EXISTS (SELECT FROM prefix_allocation
                      WHERE domain_id = p_wish.domain_id AND prefix >>= v_freed.prefix
                      AND state IN ('held', 'active', 'quarantined', 'reserved'))
              OR largest_gap(p_wish.pool_id, v_freed.first_64, v_freed.first_64 + v_freed.count_64) IS NULL THEN
            UPDATE prefix_allocation SET state = 'spent' WHERE id = v_freed.id;
        END IF;
    END LOOP;
    FOR v_freed IN  -- smaller ones, largest first: the block around it, if that is free as a whole
        SELECT * FROM prefix_allocation
        WHERE pool_id = p_wish.pool_id AND count_64 < v_count AND state = 'freed'
        ORDER BY count_64 DESC, changed_at LIMIT 64
    LOOP
        v_whole := network(set_masklen(v_freed.prefix::inet, p_wish.length));
        CONTINUE WHEN EXISTS (SELECT FROM prefix_allocation
                              WHERE domain_id = p_wish.domain_id AND prefix && v_whole
                              AND state IN ('held', 'active', 'quarantined', 'reserved'));
        IF place(p_wish, v_freed.first_64 / v_count * v_count) OR has_prefix(p_wish.owner) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END $$;


-- 4. Any gap that begins within [p_from, p_to), in order of address; stops at the first place it gets.
CREATE FUNCTION quotas.place_in_gaps(p_wish quotas.prefix_wish, p_from bigint, p_to bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_count bigint := 1::bigint << (64 - p_wish.length);
    v_start bigint;  -- where the live prefix that covers p_from ends
    v_gap record;
    v_first bigint;
BEGIN
    SELECT greatest(p_from, first_64 + count_64) INTO v_start FROM prefix_allocation
    WHERE pool_id = p_wish.pool_id AND first_64 <= p_from AND state IN ('held', 'active', 'quarantined', 'reserved')
    ORDER BY first_64 DESC LIMIT 1;
    v_start := coalesce(v_start, p_from);
    FOR v_gap IN
        SELECT v_start AS begins, coalesce(min(first_64), p_to) AS ends FROM prefix_allocation
        WHERE pool_id = p_wish.pool_id AND first_64 >= v_start AND first_64 < p_to
        AND state IN ('held', 'active', 'quarantined', 'reserved')
        UNION ALL (
        SELECT first_64 + count_64, lead(first_64, 1, p_to) OVER (ORDER BY first_64) FROM prefix_allocation
        WHERE pool_id = p_wish.pool_id AND first_64 >= v_start AND first_64 < p_to
        AND state IN ('held', 'active', 'quarantined', 'reserved'))
    LOOP
        v_first := (v_gap.begins + v_count - 1) / v_count * v_count;
        WHILE v_first + v_count <= v_gap.ends LOOP
            IF place(p_wish, v_first) THEN
                RETURN true;
            ELSIF has_prefix(p_wish.owner) THEN
                RETURN true;  -- the same owner asked twice at once; the other call was faster
            END IF;
            v_first := v_first + v_count;
        END LOOP;
    END LOOP;
    RETURN false;
END $$;


-- The size in /64s of the largest aligned block that is free within [p_from, p_to) of a pool; NULL: nothing is.
CREATE FUNCTION quotas.largest_gap(p_pool uuid, p_from bigint, p_to bigint) RETURNS bigint LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT max(CASE WHEN (begins + whole - 1) / whole * whole + whole <= ends THEN whole ELSE greatest(whole / 2, 1) END)
    FROM (
        -- A gap of 2^k to 2^(k+1)-1 holds an aligned block of 2^k if it lies well, and one of 2^(k-1) wherever it lies.
        SELECT begins, ends, 1::bigint << (length(ltrim((ends - begins)::bit(64)::text, '0')) - 1) AS whole
        FROM (
            SELECT p_from AS begins, coalesce(min(first_64), p_to) AS ends FROM prefix_allocation
            WHERE pool_id = p_pool AND first_64 >= p_from AND first_64 < p_to
            AND state IN ('held', 'active', 'quarantined', 'reserved')
            UNION ALL
            SELECT first_64 + count_64, lead(first_64, 1, p_to) OVER (ORDER BY first_64) FROM prefix_allocation
            WHERE pool_id = p_pool AND first_64 >= p_from AND first_64 < p_to
            AND state IN ('held', 'active', 'quarantined', 'reserved')
        ) AS gap WHERE ends > begins
    ) AS sized
$$;


-- Everything but the quick way. True when the owner has a prefix afterwards.
CREATE FUNCTION quotas.find_place(p_wish quotas.prefix_wish) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_size bigint := 1::bigint << (64 - masklen(p_wish.base));
    v_middle bigint := floor(random() * v_size);  -- so that writers do not all look into the same gap
BEGIN
    IF EXISTS (SELECT FROM prefix_allocation WHERE domain_id = p_wish.domain_id AND prefix >>= p_wish.base
               AND state IN ('held', 'active', 'quarantined', 'reserved')) THEN
        RETURN false;  -- reserved as a whole (or handed out as a whole)
    END IF;
    RETURN place_untouched(p_wish)
        OR place_freed(p_wish)
        OR place_in_gaps(p_wish, v_middle, v_size)
        OR place_in_gaps(p_wish, 0, v_size);
END $$;


-- One round trip, and as few statements as it takes: each costs more to set up than to run. The same owner again: the same
-- prefix (a hold's date is moved). Full: the longest free block that fits. New: only
-- what the caller does not know.
CREATE FUNCTION quotas.allocate(
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
        IF pg_try_advisory_xact_lock(hashtextextended(p_pool::text || p_length, v_first)) THEN
            INSERT INTO prefix_allocation (id, pool_id, domain_id, owner, prefix, first_64, count_64, state, until, label)
            VALUES (p_id, p_pool, v_domain, p_owner, prefix_at(v_base, p_length, v_first), v_first,
                    1::bigint << (64 - p_length), p_state, p_until, p_label)
            ON CONFLICT DO NOTHING RETURNING prefix INTO v_prefix;
            IF v_prefix IS NOT NULL THEN
                RETURN jsonb_build_object('outcome', 'new', 'prefix', v_prefix, 'routing_domain', v_code, 'zone', v_zone);
            END IF;
        END IF;
    END IF;
    IF has_prefix(p_owner) THEN  -- nothing was taken: the place stays untouched
        UPDATE prefix_cursor SET next = v_next WHERE pool_id = p_pool AND length = p_length AND shard = v_shard;
    ELSIF NOT find_place(
        (p_id, p_pool, v_domain, v_base, p_owner, p_length, p_state, p_until, p_label, v_empty_handed)
    ) THEN
        RETURN jsonb_build_object('outcome', 'full', 'fits', what_fits(v_domain, p_pool, v_base));
    END IF;
    RETURN again(p_pool, p_owner, p_length, p_until);
END $$;


-- What the owner has already, when it is what he asks for now.
CREATE FUNCTION quotas.again(p_pool uuid, p_owner uuid, p_length int, p_until timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_mine prefix_allocation;
BEGIN
    SELECT * INTO v_mine FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active', 'reserved');
    IF v_mine.pool_id <> p_pool OR masklen(v_mine.prefix) <> p_length OR v_mine.state = 'reserved' THEN
        RETURN jsonb_build_object('outcome', 'has_another', 'prefix', v_mine.prefix);
    END IF;
    UPDATE prefix_allocation SET until = p_until, changed_at = clock_timestamp()
    WHERE id = v_mine.id AND state = 'held' AND until IS DISTINCT FROM p_until AND until IS NOT NULL;
    RETURN shown(p_owner);
END $$;


-- The length of the largest block that is free in a pool; NULL: nothing is.
CREATE FUNCTION quotas.what_fits(p_domain int, p_pool uuid, p_base cidr) RETURNS int LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT 65 - length(ltrim(largest_gap(p_pool, 0, 1::bigint << (64 - masklen(p_base)))::bit(64)::text, '0'))
    WHERE NOT EXISTS (SELECT FROM prefix_allocation WHERE domain_id = p_domain AND prefix >>= p_base
                      AND state IN ('held', 'active', 'quarantined', 'reserved'))
$$;


-- Several in one round trip and one transaction, each answered for itself: [{"id", "pool", "owner", "length", "until", ...}].
CREATE FUNCTION quotas.allocate_many(p_wishes jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_wish record;
    v_new jsonb := '{}';
    v_more jsonb;
BEGIN
    WHILE jsonb_array_length(p_wishes) > 1 LOOP
        v_more := place_together(p_wishes, v_new);
        EXIT WHEN v_more = '{}';
        v_new := v_new || v_more;
    END LOOP;
    FOR v_wish IN SELECT * FROM jsonb_to_recordset(p_wishes)
        AS w (id uuid, pool uuid, owner uuid, length int, until timestamptz, state text, label text)
    LOOP
        RETURN NEXT coalesce(v_new -> v_wish.id::text, allocate(
            v_wish.id, v_wish.pool, v_wish.owner, v_wish.length, v_wish.until, v_wish.state, v_wish.label));
    END LOOP;
END $$;


-- Untouched places of one shard for up to 16 wishes of one pool and length (those of the first wish without an answer and
-- without a prefix) in one statement: a row among many costs less than half of a row alone. No more than 16, so that no shard
-- gets far ahead of the others and all stays sparse. Answers by the wishes' ids; what is not among them is asked for one by
-- one. No advisory locks, for a transaction has room for a limited number; instead it waits 50 ms at most.
CREATE FUNCTION quotas.place_together(p_wishes jsonb, p_answered jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = quotas, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    w record;
    v_cursor record;
    v_new jsonb;
BEGIN
    WITH open AS (
        SELECT v.*, p.prefix, p.domain_id, jsonb_build_object('routing_domain', d.code, 'zone', d.zone) AS whose
        FROM ROWS FROM (jsonb_to_recordset(p_wishes) AS (
            id uuid, pool uuid, owner uuid, length int, until timestamptz, state text, label text)) WITH ORDINALITY
            AS v (id, pool, owner, length, until, state, label, nth)
        JOIN prefix_pool p ON p.id = v.pool AND p.hands_out AND v.length BETWEEN masklen(p.prefix) AND 64
        JOIN routing_domain d ON d.id = p.domain_id
        WHERE NOT p_answered ? v.id::text
        AND NOT EXISTS (SELECT FROM prefix_allocation
                        WHERE owner = v.owner AND state IN ('held', 'active', 'reserved'))
    ), alike AS (
        SELECT * FROM open WHERE (pool, length) = (SELECT pool, length FROM open ORDER BY nth LIMIT 1)
        ORDER BY nth LIMIT 16
    )
    SELECT pool, length, domain_id, prefix, whose, array_agg(id) AS ids, array_agg(owner) AS owners,
           array_agg(until) AS untils, array_agg(state) AS states, array_agg(label) AS labels
    INTO w FROM alike GROUP BY 1, 2, 3, 4, 5;
    SELECT shard, next, least(size - next, cardinality(w.ids)) AS count INTO v_cursor FROM prefix_cursor
    WHERE pool_id = w.pool AND length = w.length AND next < size
    ORDER BY next, shard LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;
    UPDATE prefix_cursor SET next = next + v_cursor.count
    WHERE pool_id = w.pool AND length = w.length AND shard = v_cursor.shard;
    WITH placed AS (
        INSERT INTO prefix_allocation (id, pool_id, domain_id, owner, prefix, first_64, count_64, state, until, label)
        SELECT u.id, w.pool, w.domain_id, u.owner, prefix_at(w.prefix, w.length, first_64), first_64,
               1::bigint << (64 - w.length), u.state, u.until, u.label
        FROM unnest(w.ids, w.owners, w.untils, w.states, w.labels)
             WITH ORDINALITY AS u (id, owner, until, state, label, nth)
        CROSS JOIN LATERAL slot(w.length - masklen(w.prefix), v_cursor.shard, v_cursor.next + nth - 1, w.length) AS first_64
        WHERE nth <= v_cursor.count
        ON CONFLICT DO NOTHING RETURNING id, prefix
    )
    SELECT coalesce(jsonb_object_agg(id, w.whose || jsonb_build_object('outcome', 'new', 'prefix', prefix)), '{}')
    INTO v_new FROM placed;
    RETURN v_new;
EXCEPTION WHEN lock_not_available THEN
    RETURN '{}';  -- somebody is at one of these places at this moment
END $$;


-- How an owner's prefix is: the one he has, else the last he had.
CREATE OR REPLACE FUNCTION quotas.shown(p_owner uuid) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT jsonb_build_object('outcome', 'ok', 'id', a.id, 'pool_id', a.pool_id, 'owner', a.owner,
                              'prefix', a.prefix, 'state', a.state, 'until', a.until, 'label', a.label,
                              'routing_domain', d.code, 'zone', d.zone)
    FROM (SELECT * FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active', 'reserved')
          UNION ALL
          (SELECT * FROM prefix_allocation WHERE owner = p_owner AND state IN ('quarantined', 'freed', 'spent')
           ORDER BY changed_at DESC LIMIT 1)) AS a
    JOIN routing_domain d ON d.id = a.domain_id
    ORDER BY a.state IN ('held', 'active', 'reserved') DESC LIMIT 1
$$;
