-- The IPv6 plan: pools in a tree, prefixes handed out of them, and the functions that do so.
--
-- Frozen like 0001_a_counters.sql, and written only through functions like the tables there.
--
-- Why nothing overlaps:
--   * Live prefixes of one routing domain exclude each other (EXCLUDE ... &&); held and resting ones are live too.
--   * Pools of one routing domain and depth exclude each other, and a pool lies inside its parent: two pools are
--     therefore nested or apart. Only a pool without children hands out prefixes, so a prefix lies in one pool only.
-- Why nobody queues: each (pool, length) has up to 16 shards with a cursor each; a writer takes one that is free.
-- Why no deadlock: a lost race is an INSERT that did nothing, and a prefix somebody is inserting right now is passed by
-- (advisory try-lock per prefix), not waited for. Waiting is left where transactions of *different* lengths meet.
-- Why never "full" too early: cursors and the list of freed prefixes are only the fast ways. The last one looks at the
-- gaps between live prefixes, which is exact, and merges what was freed in pieces.

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE quotas.routing_domain (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_routing_domain PRIMARY KEY,
    code text NOT NULL CONSTRAINT uq_routing_domain_code UNIQUE CONSTRAINT ck_routing_domain_code CHECK (code <> ''),
    zone text NOT NULL CONSTRAINT ck_routing_domain_zone CHECK (zone IN ('shared', 'private', 'internet'))
);
-- The shared and the internet zone are one routing domain each; private ones may reuse unique local space.
CREATE UNIQUE INDEX uq_routing_domain_zone ON quotas.routing_domain (zone) WHERE zone <> 'private';

CREATE TABLE quotas.prefix_pool (
    id uuid CONSTRAINT pk_prefix_pool PRIMARY KEY,
    parent_id uuid CONSTRAINT fk_prefix_pool_parent_id REFERENCES quotas.prefix_pool (id),
    depth smallint NOT NULL,
    level text NOT NULL,
    domain_id integer NOT NULL CONSTRAINT fk_prefix_pool_domain_id REFERENCES quotas.routing_domain (id),
    prefix cidr NOT NULL CONSTRAINT ck_prefix_pool_prefix CHECK (family(prefix) = 6 AND masklen(prefix) BETWEEN 8 AND 64),
    hands_out boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ex_prefix_pool_overlap EXCLUDE USING gist (domain_id WITH =, depth WITH =, prefix inet_ops WITH &&)
);
CREATE INDEX ix_prefix_pool_parent_id ON quotas.prefix_pool (parent_id);

-- The next untouched slot of a shard, counted in the shard's own bit-reversed order.
CREATE TABLE quotas.prefix_cursor (
    pool_id uuid NOT NULL,
    length smallint NOT NULL,
    shard smallint NOT NULL,
    next bigint NOT NULL DEFAULT 0,
    size bigint NOT NULL,
    CONSTRAINT pk_prefix_cursor PRIMARY KEY (pool_id, length, shard),
    CONSTRAINT ck_prefix_cursor_next CHECK (next BETWEEN 0 AND size)
) WITH (fillfactor = 50);

-- held -> active -> quarantined -> freed; held -> freed. A freed row is history and, until spent, a hint for reuse.
CREATE TABLE quotas.prefix_allocation (
    id uuid CONSTRAINT pk_prefix_allocation PRIMARY KEY,
    pool_id uuid NOT NULL,
    domain_id integer NOT NULL,
    owner uuid NOT NULL,
    prefix cidr NOT NULL,
    -- The same place as whole /64s counted from the pool's first: gaps and sums are plain arithmetic.
    first_64 bigint NOT NULL,
    count_64 bigint NOT NULL,
    state text NOT NULL CONSTRAINT ck_prefix_allocation_state
        CHECK (state IN ('held', 'active', 'quarantined', 'freed', 'spent')),
    until timestamptz,  -- held: expires (NULL: pinned); quarantined: rests until
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ck_prefix_allocation_until CHECK (state <> 'quarantined' OR until IS NOT NULL),
    CONSTRAINT ex_prefix_allocation_overlap EXCLUDE USING gist (domain_id WITH =, prefix inet_ops WITH &&)
        WHERE (state IN ('held', 'active', 'quarantined'))
);
CREATE UNIQUE INDEX uq_prefix_allocation_owner ON quotas.prefix_allocation (owner) WHERE state IN ('held', 'active');
CREATE INDEX ix_prefix_allocation_gaps ON quotas.prefix_allocation (pool_id, first_64) INCLUDE (count_64)
    WHERE state IN ('held', 'active', 'quarantined');
CREATE INDEX ix_prefix_allocation_freed ON quotas.prefix_allocation (pool_id, count_64, changed_at) WHERE state = 'freed';
CREATE INDEX ix_prefix_allocation_until ON quotas.prefix_allocation (until) WHERE state IN ('held', 'quarantined');
CREATE INDEX ix_prefix_allocation_history ON quotas.prefix_allocation (owner, changed_at);


-- The lowest p_width bits of p_number in reverse order: 1, 2, 3 of 8 bits become 128, 64, 192. Neighbours in time lie
-- far apart in space (RFC 3531 in spirit), so that each can grow where it is.
CREATE FUNCTION quotas.reversed_bits(p_number bigint, p_width int) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT lpad(reverse(right(p_number::bit(64)::text, p_width)), 64, '0')::bit(64)::bigint
$$;

-- The prefix of p_length that starts p_first whole /64s after the start of p_base.
CREATE FUNCTION quotas.prefix_at(p_base cidr, p_length int, p_first bigint) RETURNS cidr
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT set_masklen(set_masklen(p_base::inet, 128) | format('%s:%s:%s:%s::',
        to_hex(p_first >> 48 & 65535), to_hex(p_first >> 32 & 65535),
        to_hex(p_first >> 16 & 65535), to_hex(p_first & 65535))::inet, p_length)::cidr
$$;


CREATE FUNCTION quotas.ensure_pool(
    p_id uuid, p_parent uuid, p_level text, p_zone text, p_domain text, p_prefix cidr, p_hands_out boolean
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_domain routing_domain;
    v_parent prefix_pool;
BEGIN
    INSERT INTO routing_domain (code, zone) VALUES (p_domain, p_zone) ON CONFLICT DO NOTHING;
    SELECT * INTO v_domain FROM routing_domain WHERE code = p_domain;
    IF v_domain.zone IS DISTINCT FROM p_zone THEN
        RETURN 'wrong_zone';
    END IF;
    IF p_parent IS NOT NULL THEN
        SELECT * INTO v_parent FROM prefix_pool WHERE id = p_parent;
        IF v_parent.id IS NULL THEN
            RETURN 'no_parent';
        ELSIF v_parent.hands_out OR v_parent.domain_id <> v_domain.id OR NOT p_prefix << v_parent.prefix THEN
            RETURN 'outside_parent';
        END IF;
    END IF;
    INSERT INTO prefix_pool (id, parent_id, depth, level, domain_id, prefix, hands_out)
    VALUES (p_id, p_parent, coalesce(v_parent.depth + 1, 0), p_level, v_domain.id, p_prefix, p_hands_out)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN CASE WHEN EXISTS (SELECT FROM prefix_pool WHERE id = p_id AND prefix = p_prefix
                                 AND domain_id = v_domain.id AND hands_out = p_hands_out
                                 AND parent_id IS NOT DISTINCT FROM p_parent) THEN 'ok'
                    WHEN EXISTS (SELECT FROM prefix_pool WHERE id = p_id) THEN 'different'
                    ELSE 'overlaps' END;
    END IF;
    IF p_hands_out THEN
        PERFORM make_cursors(p_id, p_prefix, 64);
    END IF;
    RETURN 'ok';
END $$;


-- Up to 16 shards; shard s takes the s-th slice of the pool, so that what two writers get is far apart.
CREATE FUNCTION quotas.make_cursors(p_pool uuid, p_prefix cidr, p_length int) RETURNS void LANGUAGE sql
SET search_path = quotas, pg_temp AS $$
    INSERT INTO prefix_cursor (pool_id, length, shard, size)
    SELECT p_pool, p_length, s, 1::bigint << (bits - shard_bits)
    FROM (SELECT p_length - masklen(p_prefix) AS bits, least(4, p_length - masklen(p_prefix)) AS shard_bits) AS w
    CROSS JOIN LATERAL generate_series(0, (1 << shard_bits) - 1) AS s
    ON CONFLICT DO NOTHING
$$;


-- A child pool of the next level: the sparsest free place below the parent. Children of one parent are few (one writer).
CREATE FUNCTION quotas.carve(p_id uuid, p_parent uuid, p_level text, p_length int, p_hands_out boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_parent prefix_pool;
    v_old prefix_pool;
    v_prefix cidr;
    v_bits int;
BEGIN
    SELECT * INTO v_parent FROM prefix_pool WHERE id = p_parent FOR NO KEY UPDATE;
    IF v_parent.id IS NULL THEN
        RETURN 'no_parent';
    END IF;
    SELECT * INTO v_old FROM prefix_pool WHERE id = p_id;
    IF FOUND THEN
        RETURN CASE WHEN v_old.parent_id = p_parent AND masklen(v_old.prefix) = p_length
                     AND v_old.hands_out = p_hands_out THEN 'ok' ELSE 'different' END;
    END IF;
    v_bits := p_length - masklen(v_parent.prefix);
    IF v_parent.hands_out OR v_bits < 1 OR p_length > 64 THEN
        RETURN 'bad_length';
    END IF;
    FOR n IN 0 .. (1::bigint << least(v_bits, 30)) - 1 LOOP
        v_prefix := prefix_at(v_parent.prefix, p_length, reversed_bits(n, v_bits) << (64 - p_length));
        CONTINUE WHEN EXISTS (SELECT FROM prefix_pool WHERE parent_id = p_parent AND prefix && v_prefix);
        INSERT INTO prefix_pool (id, parent_id, depth, level, domain_id, prefix, hands_out)
        VALUES (p_id, p_parent, v_parent.depth + 1, p_level, v_parent.domain_id, v_prefix, p_hands_out)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            IF p_hands_out THEN
                PERFORM make_cursors(p_id, v_prefix, 64);
            END IF;
            RETURN 'ok';
        END IF;
    END LOOP;
    RETURN 'full';
END $$;


-- Tries to take one place. False: it overlaps a live prefix, or somebody is taking it at this moment.
CREATE FUNCTION quotas.place(
    p_pool quotas.prefix_pool, p_id uuid, p_owner uuid, p_length int, p_first bigint, p_until timestamptz
) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(p_pool.id::text || p_length, p_first)) THEN
        RETURN false;
    END IF;
    INSERT INTO prefix_allocation (id, pool_id, domain_id, owner, prefix, first_64, count_64, state, until)
    VALUES (p_id, p_pool.id, p_pool.domain_id, p_owner, prefix_at(p_pool.prefix, p_length, p_first),
            p_first, 1::bigint << (64 - p_length), 'held', p_until)
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;


-- The gaps between live prefixes of a pool that can take an aligned block of p_count /64s: first place and end.
CREATE FUNCTION quotas.gaps(p_pool quotas.prefix_pool, p_count bigint) RETURNS TABLE (first_64 bigint, end_64 bigint)
LANGUAGE sql STABLE ROWS 100 SET search_path = quotas, pg_temp AS $$
    SELECT aligned, ends FROM (
        SELECT (lag(past, 1, 0::bigint) OVER (ORDER BY first_64) + p_count - 1) / p_count * p_count AS aligned,
               first_64 AS ends
        FROM (SELECT first_64, first_64 + count_64 AS past FROM prefix_allocation
              WHERE pool_id = p_pool.id AND state IN ('held', 'active', 'quarantined')
              UNION ALL
              SELECT size, size FROM (SELECT 1::bigint << (64 - masklen(p_pool.prefix))) AS pool (size)) AS live
    ) AS gap
    WHERE aligned + p_count <= ends
$$;


CREATE FUNCTION quotas.shown(p_owner uuid) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT jsonb_build_object('outcome', 'ok', 'id', a.id, 'pool_id', a.pool_id, 'owner', a.owner,
                              'prefix', a.prefix, 'state', a.state, 'until', a.until,
                              'routing_domain', d.code, 'zone', d.zone)
    FROM prefix_allocation a JOIN routing_domain d ON d.id = a.domain_id
    WHERE a.owner = p_owner ORDER BY a.state IN ('held', 'active') DESC, a.changed_at DESC LIMIT 1
$$;


-- Tries each way in turn; true when the owner has a prefix afterwards.
CREATE FUNCTION quotas.find_place(
    p_pool quotas.prefix_pool, p_id uuid, p_owner uuid, p_length int, p_until timestamptz
) RETURNS boolean
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    v_bits int := p_length - masklen(p_pool.prefix);
    v_count bigint := 1::bigint << (64 - p_length);
    v_cursor prefix_cursor;
    v_freed prefix_allocation;
    v_gap record;
    v_first bigint;
    v_next bigint;
    v_shard smallint;
    v_waited boolean := false;
BEGIN
    -- 1. Untouched space: the shard that got furthest behind and that nobody holds.
    IF NOT EXISTS (SELECT FROM prefix_cursor WHERE pool_id = p_pool.id AND length = p_length) THEN
        PERFORM make_cursors(p_pool.id, p_pool.prefix, p_length);
    END IF;
    LOOP
        SELECT * INTO v_cursor FROM prefix_cursor
        WHERE pool_id = p_pool.id AND length = p_length AND next < size
        ORDER BY next, shard LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            -- All are taken or used up. Wait for one, once, and with empty hands only: who has a cursor never waits.
            EXIT WHEN v_waited OR EXISTS (
                SELECT FROM prefix_cursor
                WHERE pool_id = p_pool.id AND length = p_length AND xmin = pg_current_xact_id()::xid);
            v_waited := true;
            SELECT shard INTO v_shard FROM prefix_cursor
            WHERE pool_id = p_pool.id AND length = p_length AND next < size ORDER BY random() LIMIT 1;
            SELECT * INTO v_cursor FROM prefix_cursor
            WHERE pool_id = p_pool.id AND length = p_length AND shard = v_shard AND next < size FOR UPDATE;
            EXIT WHEN NOT FOUND;
        END IF;
        v_next := v_cursor.next;
        WHILE v_next < v_cursor.size LOOP
            v_first := reversed_bits(v_next << least(4, v_bits) | reversed_bits(v_cursor.shard, least(4, v_bits)), v_bits)
                       << (64 - p_length);
            IF place(p_pool, p_id, p_owner, p_length, v_first, p_until) THEN
                UPDATE prefix_cursor SET next = v_next + 1
                WHERE pool_id = p_pool.id AND length = p_length AND shard = v_cursor.shard;
                RETURN true;
            END IF;
            IF EXISTS (SELECT FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active')) THEN
                RETURN true;  -- the same owner asked twice at once; the other call was faster
            END IF;
            v_next := v_next + 1;
        END LOOP;
        UPDATE prefix_cursor SET next = size
        WHERE pool_id = p_pool.id AND length = p_length AND shard = v_cursor.shard;
    END LOOP;

    -- 2. A freed prefix of this very length, the one that has rested longest.
    LOOP
        SELECT * INTO v_freed FROM prefix_allocation
        WHERE pool_id = p_pool.id AND count_64 = v_count AND state = 'freed'
        ORDER BY changed_at LIMIT 1 FOR UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        UPDATE prefix_allocation SET state = 'spent' WHERE id = v_freed.id;
        IF place(p_pool, p_id, p_owner, p_length, v_freed.first_64, p_until)
           OR EXISTS (SELECT FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active')) THEN
            RETURN true;
        END IF;
    END LOOP;

    -- 3. Any gap, the largest first: exact, merges what was freed in pieces, costs a walk over the pool's live prefixes.
    FOR v_gap IN SELECT first_64, end_64 FROM gaps(p_pool, v_count) ORDER BY end_64 - first_64 DESC, first_64 LOOP
        v_first := v_gap.first_64;
        WHILE v_first + v_count <= v_gap.end_64 LOOP
            IF place(p_pool, p_id, p_owner, p_length, v_first, p_until)
               OR EXISTS (SELECT FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active')) THEN
                RETURN true;
            END IF;
            v_first := v_first + v_count;
        END LOOP;
    END LOOP;
    RETURN false;
END $$;


-- One round trip. The same owner again: the same prefix (a hold's date is moved). Full: the longest free block that fits.
CREATE FUNCTION quotas.allocate(p_id uuid, p_pool uuid, p_owner uuid, p_length int, p_until timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_pool prefix_pool;
    v_mine prefix_allocation;
    v_fits int;
BEGIN
    SELECT * INTO v_mine FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active');
    IF NOT FOUND THEN
        SELECT * INTO v_pool FROM prefix_pool WHERE id = p_pool;
        IF v_pool.id IS NULL THEN
            RETURN jsonb_build_object('outcome', 'no_pool');
        ELSIF NOT v_pool.hands_out OR p_length < masklen(v_pool.prefix) OR p_length > 64 THEN
            RETURN jsonb_build_object('outcome', 'bad_length');
        ELSIF NOT find_place(v_pool, p_id, p_owner, p_length, p_until) THEN
            SELECT min(l) INTO v_fits FROM generate_series(p_length + 1, 64) AS l
            WHERE EXISTS (SELECT FROM gaps(v_pool, 1::bigint << (64 - l)));
            RETURN jsonb_build_object('outcome', 'full', 'fits', v_fits);
        END IF;
        SELECT * INTO v_mine FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active');
    END IF;
    IF v_mine.pool_id <> p_pool OR masklen(v_mine.prefix) <> p_length THEN
        RETURN jsonb_build_object('outcome', 'has_another', 'prefix', v_mine.prefix);
    END IF;
    UPDATE prefix_allocation SET until = p_until, changed_at = clock_timestamp()
    WHERE id = v_mine.id AND state = 'held' AND until IS DISTINCT FROM p_until AND until IS NOT NULL;
    RETURN shown(p_owner);
END $$;


-- What happens to an owner's prefix: pin, activate, cancel, release. Done before: no harm. Returns how it is now.
CREATE FUNCTION quotas.turn(p_owner uuid, p_what text, p_at timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    CASE p_what
    WHEN 'pin' THEN
        UPDATE prefix_allocation SET until = NULL, changed_at = clock_timestamp()
        WHERE owner = p_owner AND state = 'held' AND until > coalesce(p_at, clock_timestamp());
    WHEN 'activate' THEN
        UPDATE prefix_allocation SET state = 'active', until = NULL, changed_at = clock_timestamp()
        WHERE owner = p_owner AND state = 'held' AND (until IS NULL OR until > coalesce(p_at, clock_timestamp()));
    WHEN 'cancel' THEN
        UPDATE prefix_allocation SET state = 'freed', until = NULL, changed_at = clock_timestamp()
        WHERE owner = p_owner AND state = 'held';
    WHEN 'release' THEN
        UPDATE prefix_allocation SET state = 'quarantined', until = p_at, changed_at = clock_timestamp()
        WHERE owner = p_owner AND state = 'active';
    END CASE;
    RETURN shown(p_owner);
END $$;


-- Frees what is due: holds that expired and quarantines that ended. At most p_limit, passing by what is being worked on.
CREATE FUNCTION quotas.sweep_prefixes(p_now timestamptz, p_limit int)
RETURNS TABLE (id uuid, owner uuid, prefix cidr, was text) LANGUAGE sql
SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
    WITH due AS (
        SELECT a.id, a.state FROM prefix_allocation a WHERE a.state IN ('held', 'quarantined') AND a.until <= p_now
        ORDER BY a.until LIMIT p_limit FOR UPDATE SKIP LOCKED
    )
    UPDATE prefix_allocation a SET state = 'freed', until = NULL, changed_at = clock_timestamp()
    FROM due WHERE a.id = due.id
    RETURNING a.id, a.owner, a.prefix, due.state
$$;


-- Whatever the constraints should make impossible, looked for all the same; one statement, one snapshot.
CREATE FUNCTION quotas.verify_prefixes() RETURNS TABLE (what text, id text, detail text) LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
    WITH live AS (
        SELECT * FROM prefix_allocation WHERE state IN ('held', 'active', 'quarantined')
    ), in_order AS (
        -- Ordered by address, a prefix that overlaps any earlier one begins before the furthest end seen so far.
        SELECT a.id, a.domain_id, a.prefix,
               max(broadcast(a.prefix)) OVER (PARTITION BY a.domain_id ORDER BY network(a.prefix), masklen(a.prefix)
                                              ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS furthest
        FROM live a
    )
    SELECT 'overlap', o.id::text, o.prefix::text FROM in_order o WHERE host(o.prefix)::inet <= host(o.furthest)::inet
    UNION ALL
    SELECT 'outside_pool', a.id::text, a.prefix::text
    FROM live a LEFT JOIN prefix_pool p ON p.id = a.pool_id AND p.domain_id = a.domain_id AND p.hands_out
    WHERE p.id IS NULL OR NOT a.prefix <<= p.prefix
    UNION ALL
    SELECT 'misplaced', a.id::text, a.prefix::text
    FROM live a JOIN prefix_pool p ON p.id = a.pool_id
    WHERE a.count_64 <> 1::bigint << (64 - masklen(a.prefix))
       OR a.prefix <> prefix_at(p.prefix, masklen(a.prefix), a.first_64)
    UNION ALL
    SELECT 'pool_outside_parent', c.id::text, c.prefix::text
    FROM prefix_pool c JOIN prefix_pool p ON p.id = c.parent_id
    WHERE NOT c.prefix << p.prefix OR c.domain_id <> p.domain_id OR c.depth <> p.depth + 1 OR p.hands_out
    ORDER BY 1, 2
$$;
