-- Where a prefix may stand. "Full" is said of what is committed: beside what is not, it is "busy". What is tried first is in
-- 0019_a_empty_hands.sql (place_untouched, 1 and 2) and 0011_b_claiming.sql.

-- Where the thing ends that is in the way of a place, in /64s from the pool's start: a live prefix, or a block around the place
-- that another transaction has claimed; and whether only the claim reaches that far. NULL: nothing that can be seen.
CREATE OR REPLACE FUNCTION quotas.taken_until(
    p_wish quotas.prefix_wish, p_first bigint, OUT until bigint, OUT uncommitted boolean
)
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_prefix cidr := prefix_at(p_wish.base, p_wish.length, p_first);
    v_claimed bigint;
    v_length int;
BEGIN
    SELECT max(place_of(p_wish.base, prefix) + (1::bigint << (64 - masklen(prefix)))) INTO until FROM prefix_allocation
    WHERE space_of(domain_id, prefix) && space_of(p_wish.domain_id, v_prefix) AND masklen(prefix) >= masklen(p_wish.base)
    AND state IN ('held', 'active', 'quarantined', 'reserved');
    SELECT min(length) INTO v_length
    FROM (SELECT n AS length, claim_of(p_wish.domain_id, network(set_masklen(v_prefix::inet, n))) AS key
          FROM generate_series(8, p_wish.length) AS n) AS around
    JOIN pg_locks l ON l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.pid <> pg_backend_pid()
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND l.classid = (key >> 32 & 4294967295)::oid AND l.objid = (key & 4294967295)::oid;
    v_claimed := CASE WHEN v_length <= masklen(p_wish.base) THEN 1::bigint << (64 - masklen(p_wish.base))
                      ELSE ((p_first >> (64 - v_length)) + 1) << (64 - v_length) END;
    uncommitted := v_claimed > coalesce(until, 0);
    until := greatest(until, v_claimed);
END $$;


-- Tries to take one place. False: it overlaps a live prefix, or somebody is taking it at this moment; NULL: somebody is, and it
-- cannot be seen how far his reaches. Only who has written nothing yet waits for others (0004_b_allocating.sql).
CREATE OR REPLACE FUNCTION quotas.place(p_wish quotas.prefix_wish, p_first bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
BEGIN
    IF p_wish.empty_handed THEN
        RETURN place_claimed(p_wish, p_first);
    END IF;
    RETURN (taken_until(p_wish, p_first)).until IS NULL AND place_guarded(p_wish, p_first);
END $$;


-- Who waits here has written something: in an assessment, the counters that others wait for. A flush is over in 10 ms; for what
-- takes longer he is told "busy" and begins anew without them. It was 50.
CREATE OR REPLACE FUNCTION quotas.place_guarded(p_wish quotas.prefix_wish, p_first bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp SET lock_timeout = '10ms' AS $$
BEGIN
    RETURN place_claimed(p_wish, p_first);
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END $$;


-- 4. Any gap that begins within [p_from, p_to), in order of address; stops at the first place it gets. What came of it: placed;
-- none (there is no place); claimed (none, but others have not committed all that is in the way); unseen (others, whose
-- claims cannot be seen, are at work, and places were passed by).
CREATE OR REPLACE FUNCTION quotas.place_in_gaps(p_wish quotas.prefix_wish, p_from bigint, p_to bigint) RETURNS text
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_count bigint := 1::bigint << (64 - p_wish.length);
    v_start bigint;  -- where the live prefix that covers p_from ends
    v_gap record;
    v_first bigint;
    v_placed boolean;
    v_taken record;
    v_step bigint := v_count;
    v_waits int := 0;
    v_unseen boolean := false;
    v_claimed boolean := false;
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
                RETURN 'placed';  -- or the same owner asked twice at once, and the other call was faster
            END IF;
            v_taken := taken_until(p_wish, v_first);
            IF v_taken.until IS NOT NULL THEN
                v_claimed := v_claimed OR v_taken.uncommitted IS TRUE;
                v_first := (v_taken.until + v_count - 1) / v_count * v_count;
                CONTINUE;
            END IF;
            v_waits := v_waits + 1;
            EXIT walk WHEN v_waits = 10;
            CONTINUE WHEN v_placed IS NOT NULL;  -- who was in the way has gone meanwhile: once more
            -- Unseen. Prefixes are aligned: it ends where a block of some size around this place ends. First one place at a
            -- time, for most are small; then in steps that grow.
            v_step := CASE WHEN v_waits <= 3 THEN v_count ELSE v_step * 16 END;
            v_unseen := true;
            v_first := (v_first / v_step + 1) * v_step;
        END LOOP;
    END LOOP;
    RETURN CASE WHEN v_unseen OR v_waits = 10 THEN 'unseen' WHEN v_claimed THEN 'claimed' ELSE 'none' END;
END $$;


-- 3. What was freed, the one that has rested longest first. A freed row is spent when live prefixes fill it.
CREATE OR REPLACE FUNCTION quotas.place_freed(p_wish quotas.prefix_wish) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_count bigint := 1::bigint << (64 - p_wish.length);
    v_freed prefix_allocation;
    v_seen prefix_allocation;
    v_whole cidr;
    v_found text;
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
        v_found := place_in_gaps(p_wish, v_freed.first_64, v_freed.first_64 + v_freed.count_64);
        IF v_found = 'placed' OR has_prefix(p_wish.owner) THEN
            IF v_freed.count_64 = v_count THEN
                UPDATE prefix_allocation SET state = 'spent' WHERE id = v_freed.id;
            END IF;
            RETURN true;
        ELSIF is_covered(p_wish.domain_id, v_freed.prefix)
              OR largest_gap(p_wish.pool_id, v_freed.first_64, v_freed.first_64 + v_freed.count_64) IS NULL THEN
            UPDATE prefix_allocation SET state = 'spent' WHERE id = v_freed.id;
        END IF;
        EXIT WHEN v_found = 'unseen';  -- he who works here is met again in the gaps
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


-- Everything but the quick way. True when the owner has a prefix afterwards; false: there is no place; NULL: there may be one
-- when others have committed or given up.
CREATE OR REPLACE FUNCTION quotas.find_place(p_wish quotas.prefix_wish) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_size bigint := 1::bigint << (64 - masklen(p_wish.base));
BEGIN
    IF is_covered(p_wish.domain_id, p_wish.base) THEN
        RETURN false;  -- reserved as a whole (or handed out as a whole)
    ELSIF place_untouched(p_wish) OR place_freed(p_wish)
          -- From anywhere first, so that writers do not all look into the same gap.
          OR place_in_gaps(p_wish, floor(random() * v_size)::bigint, v_size) = 'placed' THEN
        RETURN true;
    END IF;
    RETURN CASE place_in_gaps(p_wish, 0, v_size) WHEN 'placed' THEN true WHEN 'none' THEN false END;
END $$;
