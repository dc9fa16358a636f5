-- Untouched places, third edition. Two callers could deadlock: each had taken a cursor on the quick way, found its place taken by a
-- prefix of another length, and waited here for the cursor that the other had. Whose hands are empty is now asked of the
-- transaction itself at the moment of the wait, not remembered from its start: who has locked or written anything waits for
-- no cursor; what he does not reach this way, he finds in the gaps (0004_b_allocating.sql).
CREATE OR REPLACE FUNCTION quotas.place_untouched(p_wish quotas.prefix_wish) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_bits int := p_wish.length - masklen(p_wish.base);
    v_cursor prefix_cursor;
    v_shard smallint;
    v_tries int := 0;
    v_placed boolean;
BEGIN
    -- Cursors that another transaction is making are not waited for either.
    IF NOT EXISTS (SELECT FROM prefix_cursor WHERE pool_id = p_wish.pool_id AND length = p_wish.length)
       AND pg_try_advisory_xact_lock(hashtextextended('cursors of ' || p_wish.pool_id, p_wish.length)) THEN
        PERFORM make_cursors(p_wish.pool_id, p_wish.base, p_wish.length);
    END IF;
    WHILE v_tries < 64 LOOP
        SELECT * INTO v_cursor FROM prefix_cursor
        WHERE pool_id = p_wish.pool_id AND length = p_wish.length AND next < size
        ORDER BY next, shard LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            EXIT WHEN pg_current_xact_id_if_assigned() IS NOT NULL;  -- all are taken or used up
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
