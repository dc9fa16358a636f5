-- Nominal, borrowing and lending limits between siblings, and counting that knows them.
--
-- Frozen once released, like the files before it; migration 0003_quota_engine executes it as it stands. Why so:
-- docs/decisions/0006-quotas.md; the same arithmetic over a snapshot: quotas/rules.py.
--
-- A limit is a node's share of the nearest limit of the same class and pool above it (its cohort). limit_amount is the
-- nominal share; borrowing_limit is how far a node may go beyond it while the cohort has room (NULL: as far as there is
-- room); lending_limit is how much of the nominal the cohort may use while the node does not (NULL: all of it). What is
-- not lent is guaranteed, and booked in every limit above for as long as the node does not use it itself. So at every
-- commit, at every limit:
--     used + booked <= ceiling,      ceiling = limit_amount + borrowing_limit,
--     booked = sum over the limits below of what they are guaranteed and do not yet use,
-- which is Kueue's available = local + min(parent's available, stored + borrowing limit), written as a counter.
-- A plain limit borrows 0, lends all, books nothing: it costs what it cost before.

ALTER TABLE quotas.node_limit
    ADD COLUMN borrowing_limit bigint DEFAULT 0
        CONSTRAINT ck_node_limit_borrowing_limit CHECK (borrowing_limit >= 0),
    ADD COLUMN lending_limit bigint CONSTRAINT ck_node_limit_lending_limit CHECK (lending_limit >= 0),
    ADD COLUMN booked bigint NOT NULL DEFAULT 0 CONSTRAINT ck_node_limit_booked CHECK (booked >= 0),
    ADD COLUMN ceiling bigint NOT NULL GENERATED ALWAYS AS (
        CASE WHEN borrowing_limit IS NULL THEN 9223372036854775807 ELSE limit_amount + borrowing_limit END) STORED,
    -- greatest() ignores NULL: who lends all is guaranteed nothing
    ADD COLUMN guaranteed bigint NOT NULL GENERATED ALWAYS AS (greatest(limit_amount - lending_limit, 0)) STORED;
CREATE INDEX ix_node_limit_guaranteed ON quotas.node_limit (resource_class) WHERE guaranteed > 0;


-- The limits of the same class and pool above a limit's node, the nearest first.
CREATE FUNCTION quotas.limits_above(p_node uuid, p_class text, p_pool uuid) RETURNS SETOF quotas.node_limit
LANGUAGE sql STABLE ROWS 4 SET search_path = quotas, pg_temp AS $$
    SELECT l.*
    FROM node n
    CROSS JOIN LATERAL unnest(n.path[2:]) WITH ORDINALITY AS p (node_id, nth)
    JOIN node_limit l ON l.node_id = p.node_id AND l.resource_class = p_class AND l.pool_id IS NOT DISTINCT FROM p_pool
    WHERE n.id = p_node
    ORDER BY p.nth
$$;


-- Adds amounts (negative: gives back) to every finite limit above the nodes and to the pools' inventory: all or nothing.
-- Returns NULL, or every counter that refuses; then nothing has changed and the caller's transaction is still usable.
-- Every counter is locked in order before it is judged, so that what is judged is what is written.
CREATE OR REPLACE FUNCTION quotas.count_on(p_node uuid[], p_class text[], p_pool uuid[], p_amount bigint[]) RETURNS jsonb
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    r record;
    v_load bigint;
    v_booked bigint;
    v_asked bigint;
    v_change bigint;
    v_capacity bigint;
    v_used bigint;
    v_refused jsonb := '[]';
    v_ids bigint[] := '{}';
    v_deltas bigint[] := '{}';
    v_bookings bigint[] := '{}';
    v_above bigint[] := '{}';   -- limits above one whose unused guarantee changed ...
    v_changes bigint[] := '{}'; -- ... and by how much
    v_pools uuid[] := '{}';
    v_classes text[] := '{}';
    v_pool_deltas bigint[] := '{}';
BEGIN
    FOR r IN
        SELECT l.id, l.node_id, l.resource_class, l.pool_id, l.used, l.booked, l.ceiling, l.guaranteed, d.delta
        FROM (
            SELECT l.id, min(n.depth - p.nth) AS depth, sum(a.amount)::bigint AS delta
            FROM unnest(p_node, p_class, p_pool, p_amount) AS a (node_id, resource_class, pool_id, amount)
            JOIN resource_class c ON c.code = a.resource_class
            JOIN node n ON n.id = a.node_id
            CROSS JOIN LATERAL unnest(n.path) WITH ORDINALITY AS p (node_id, nth)
            JOIN node_limit l ON l.node_id = p.node_id
                             AND l.resource_class IN (c.code, c.counts_in)
                             AND (l.pool_id IS NULL OR l.pool_id = a.pool_id)
            GROUP BY l.id
            -- What moves from one node to another leaves the sum above both, and may still change what is booked there.
            HAVING sum(a.amount) <> 0 OR count(DISTINCT a.node_id) > 1
        ) AS d
        JOIN node_limit l ON l.id = d.id
        ORDER BY d.depth DESC, l.node_id, l.resource_class COLLATE "C", l.pool_id NULLS FIRST
        FOR NO KEY UPDATE OF l
    LOOP
        v_booked := 0;
        IF cardinality(v_above) > 0 THEN
            SELECT coalesce(sum(change), 0)::bigint INTO v_booked
            FROM unnest(v_above, v_changes) AS u (id, change) WHERE u.id = r.id;
        END IF;
        v_load := r.used + r.booked;
        v_asked := r.delta + v_booked;
        IF v_asked > 0 AND v_load + v_asked > r.ceiling THEN
            v_refused := v_refused || jsonb_build_object('cause', 'limit', 'node_id', r.node_id,
                'resource_class', r.resource_class, 'pool_id', r.pool_id,
                'limit', r.ceiling, 'used', v_load, 'asked', v_asked);
        END IF;
        IF r.guaranteed > 0 THEN
            v_change := greatest(r.guaranteed - v_load - v_asked, 0) - greatest(r.guaranteed - v_load, 0);
            IF v_change <> 0 THEN
                SELECT v_above || array_agg(id), v_changes || array_agg(v_change) INTO v_above, v_changes
                FROM limits_above(r.node_id, r.resource_class, r.pool_id);
            END IF;
        END IF;
        v_ids := v_ids || r.id;
        v_deltas := v_deltas || r.delta;
        v_bookings := v_bookings || v_booked;
    END LOOP;

    FOR r IN
        SELECT a.pool_id, a.resource_class, sum(a.amount)::bigint AS delta, i.pool_id IS NULL AS absent, i.step,
               i.capacity, bool_or(a.amount > 0 AND a.amount % i.step <> 0) AS off_step
        FROM unnest(p_node, p_class, p_pool, p_amount) AS a (node_id, resource_class, pool_id, amount)
        LEFT JOIN inventory i ON i.pool_id = a.pool_id AND i.resource_class = a.resource_class
        GROUP BY a.pool_id, a.resource_class, i.pool_id, i.step, i.capacity
        HAVING sum(a.amount) <> 0
        ORDER BY a.pool_id, a.resource_class COLLATE "C"
    LOOP
        IF r.delta > 0 AND r.absent OR r.off_step THEN
            v_refused := v_refused || jsonb_build_object(
                'cause', CASE WHEN r.absent THEN 'not_offered' ELSE 'step' END, 'node_id', NULL,
                'resource_class', r.resource_class, 'pool_id', r.pool_id,
                'limit', CASE WHEN r.absent THEN 0 ELSE r.step END, 'used', 0, 'asked', r.delta);
            CONTINUE;
        END IF;
        CONTINUE WHEN r.capacity IS NULL;
        SELECT capacity, used INTO v_capacity, v_used FROM inventory
        WHERE pool_id = r.pool_id AND resource_class = r.resource_class FOR NO KEY UPDATE;
        IF r.delta > 0 AND v_used + r.delta > v_capacity THEN
            v_refused := v_refused || jsonb_build_object('cause', 'capacity', 'node_id', NULL,
                'resource_class', r.resource_class, 'pool_id', r.pool_id,
                'limit', v_capacity, 'used', v_used, 'asked', r.delta);
        END IF;
        v_pools := v_pools || r.pool_id;
        v_classes := v_classes || r.resource_class;
        v_pool_deltas := v_pool_deltas || r.delta;
    END LOOP;

    IF v_refused <> '[]' THEN
        RETURN v_refused;
    END IF;
    UPDATE node_limit l SET used = l.used + u.delta, booked = l.booked + u.booking
    FROM unnest(v_ids, v_deltas, v_bookings) AS u (id, delta, booking)
    WHERE l.id = u.id AND (u.delta <> 0 OR u.booking <> 0);
    UPDATE inventory i SET used = i.used + u.delta
    FROM unnest(v_pools, v_classes, v_pool_deltas) AS u (pool_id, resource_class, delta)
    WHERE i.pool_id = u.pool_id AND i.resource_class = u.resource_class;
    RETURN NULL;
END $$;


-- Is anything below this node guaranteed in that class and pool?
CREATE FUNCTION quotas.guarantees_below(p_node uuid, p_class text, p_pool uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = quotas, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM node_limit g JOIN node n ON n.id = g.node_id
        WHERE g.guaranteed > 0 AND g.resource_class = p_class AND g.pool_id IS NOT DISTINCT FROM p_pool
          AND n.path[2:] @> ARRAY[p_node])
$$;


-- What a limit at that node has to book: the guarantees below it that are not used.
CREATE FUNCTION quotas.booked_below(p_node uuid, p_class text, p_pool uuid) RETURNS bigint
LANGUAGE sql STABLE SET search_path = quotas, pg_temp AS $$
    SELECT coalesce(sum(greatest(g.guaranteed - g.used - g.booked, 0)), 0)::bigint
    FROM node_limit g JOIN node n ON n.id = g.node_id
    WHERE g.guaranteed > 0 AND g.resource_class = p_class AND g.pool_id IS NOT DISTINCT FROM p_pool
      AND n.path[2:] @> ARRAY[p_node]
$$;


-- Sets, changes or (p_limit NULL) removes a limit. A limit may be set below what is used: an overage. Not so where
-- something below is guaranteed: then it must cover what is used and booked, or growth inside a guarantee would pass it.
-- Outcomes: ok, no_node, no_lender (a root has nobody to borrow from), not_covered (with the limit that would not cover).
DROP FUNCTION quotas.set_limit(uuid, text, uuid, bigint);
CREATE FUNCTION quotas.set_limit(
    p_node uuid, p_class text, p_pool uuid, p_limit bigint, p_borrowing bigint, p_lending bigint
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    r record;
    v_old node_limit;
    v_used bigint;
    v_booked bigint;
    v_change bigint;
    v_below bigint;
    v_ids bigint[] := '{}';
    v_changes bigint[] := '{}';
    v_ceiling bigint := coalesce(p_limit + p_borrowing, 9223372036854775807);
    v_guaranteed bigint := greatest(p_limit - p_lending, 0);
BEGIN
    IF NOT EXISTS (SELECT FROM node WHERE id = p_node) THEN
        RETURN jsonb_build_object('outcome', 'no_node');
    ELSIF p_borrowing IS DISTINCT FROM 0 AND p_limit IS NOT NULL
          AND (SELECT parent_id IS NULL FROM node WHERE id = p_node) THEN
        RETURN jsonb_build_object('outcome', 'no_lender');
    END IF;
    IF p_lending IS NULL THEN
        -- The usual case: nothing is guaranteed here, before or after, so that nothing changes above.
        UPDATE node_limit SET limit_amount = p_limit, borrowing_limit = p_borrowing
        WHERE node_id = p_node AND resource_class = p_class AND pool_id IS NOT DISTINCT FROM p_pool
          AND p_limit IS NOT NULL AND lending_limit IS NULL
          AND (v_ceiling >= used + booked OR NOT guarantees_below(p_node, p_class, p_pool));
        IF FOUND THEN
            RETURN jsonb_build_object('outcome', 'ok');
        END IF;
    END IF;

    -- A counter comes or goes, or what is guaranteed changes: nobody may be half-way through a count.
    PERFORM gate_exclusive();
    SELECT * INTO v_old FROM node_limit
    WHERE node_id = p_node AND resource_class = p_class AND pool_id IS NOT DISTINCT FROM p_pool;
    v_used := coalesce(v_old.used, recount(p_node, p_class, p_pool));
    v_booked := coalesce(v_old.booked, booked_below(p_node, p_class, p_pool));
    IF v_ceiling < v_used + v_booked AND guarantees_below(p_node, p_class, p_pool) THEN
        RETURN jsonb_build_object('outcome', 'not_covered', 'node_id', p_node, 'limit', v_ceiling,
                                  'needed', v_used + v_booked);
    END IF;
    v_change := greatest(v_guaranteed - v_used - v_booked, 0)
              - greatest(coalesce(v_old.guaranteed, 0) - v_used - v_booked, 0);
    FOR r IN SELECT * FROM limits_above(p_node, p_class, p_pool) LOOP
        IF v_guaranteed > coalesce(v_old.guaranteed, 0) AND r.used + r.booked + v_change > r.ceiling THEN
            RETURN jsonb_build_object('outcome', 'not_covered', 'node_id', r.node_id, 'limit', r.ceiling,
                                      'needed', r.used + r.booked + v_change);
        END IF;
        v_ids := v_ids || r.id;
        v_changes := v_changes || v_change;
        v_below := greatest(r.guaranteed - r.used - r.booked, 0);
        v_change := v_change + greatest(r.guaranteed - r.used - r.booked - v_change, 0) - v_below;
    END LOOP;

    UPDATE node_limit l SET booked = l.booked + u.change
    FROM unnest(v_ids, v_changes) AS u (id, change) WHERE l.id = u.id AND u.change <> 0;
    IF p_limit IS NULL THEN
        DELETE FROM node_limit WHERE id = v_old.id;
    ELSIF v_old.id IS NULL THEN
        INSERT INTO node_limit (node_id, resource_class, pool_id, limit_amount, borrowing_limit, lending_limit, used, booked)
        VALUES (p_node, p_class, p_pool, p_limit, p_borrowing, p_lending, v_used, v_booked);
    ELSE
        UPDATE node_limit SET limit_amount = p_limit, borrowing_limit = p_borrowing, lending_limit = p_lending
        WHERE id = v_old.id;
    END IF;
    RETURN jsonb_build_object('outcome', 'ok');
END $$;


-- What every limit should have booked, from nothing but lines and limits: the lowest limit first.
CREATE FUNCTION quotas.recounted_limits() RETURNS TABLE (limit_id bigint, used bigint, booked bigint)
LANGUAGE plpgsql STABLE SET search_path = quotas, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_used jsonb;
    v_booked jsonb := '{}';
    v_idle bigint;
    g record;
    r record;
BEGIN
    SELECT coalesce(jsonb_object_agg(id, amount), '{}') INTO v_used FROM (
        SELECT l.id, sum(a.amount)::bigint AS amount
        FROM (SELECT h.node_id, l.resource_class, l.pool_id, sum(l.amount - l.voided - l.released)::bigint AS amount
              FROM hold_line l JOIN hold h ON h.id = l.hold_id GROUP BY 1, 2, 3) AS a
        JOIN resource_class c ON c.code = a.resource_class
        JOIN node n ON n.id = a.node_id
        CROSS JOIN LATERAL unnest(n.path) AS p (node_id)
        JOIN node_limit l ON l.node_id = p.node_id AND l.resource_class IN (c.code, c.counts_in)
                         AND (l.pool_id IS NULL OR l.pool_id = a.pool_id)
        GROUP BY l.id) AS summed;
    FOR g IN SELECT l.* FROM node_limit l JOIN node n ON n.id = l.node_id WHERE l.guaranteed > 0 ORDER BY n.depth DESC LOOP
        v_idle := greatest(g.guaranteed - coalesce((v_used ->> g.id::text)::bigint, 0)
                                        - coalesce((v_booked ->> g.id::text)::bigint, 0), 0);
        CONTINUE WHEN v_idle = 0;
        FOR r IN SELECT id FROM limits_above(g.node_id, g.resource_class, g.pool_id) LOOP
            v_booked := v_booked || jsonb_build_object(r.id, coalesce((v_booked ->> r.id::text)::bigint, 0) + v_idle);
        END LOOP;
    END LOOP;
    RETURN QUERY SELECT l.id, coalesce((v_used ->> l.id::text)::bigint, 0), coalesce((v_booked ->> l.id::text)::bigint, 0)
                 FROM node_limit l;
END $$;


-- Every number that differs when it is counted again from the rows it stands for; one statement, one snapshot.
CREATE OR REPLACE FUNCTION quotas.verify() RETURNS TABLE (what text, id text, kept bigint, recounted bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
    WITH on_pool AS (
        SELECT pool_id, resource_class, sum(amount - voided - released)::bigint AS used FROM hold_line GROUP BY 1, 2
    ), moved AS (
        SELECT hold_id, resource_class, pool_id,
               coalesce(sum(amount) FILTER (WHERE kind = 'post'), 0)::bigint AS posted,
               coalesce(sum(amount) FILTER (WHERE kind IN ('void', 'expire')), 0)::bigint AS voided,
               coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0)::bigint AS released
        FROM movement GROUP BY 1, 2, 3
    )
    SELECT f.name, concat_ws('/', l.node_id, l.resource_class, l.pool_id), f.kept, f.recounted
    FROM node_limit l JOIN recounted_limits() AS o ON o.limit_id = l.id
    CROSS JOIN LATERAL (VALUES ('node_limit', l.used, o.used), ('node_limit.booked', l.booked, o.booked))
        AS f (name, kept, recounted)
    WHERE f.kept <> f.recounted
    UNION ALL
    SELECT 'inventory', concat_ws('/', i.pool_id, i.resource_class), i.used, coalesce(o.used, 0)
    FROM inventory i LEFT JOIN on_pool o USING (pool_id, resource_class)
    WHERE i.total IS NOT NULL AND i.used <> coalesce(o.used, 0)
    UNION ALL
    SELECT 'hold_line.' || f.name, concat_ws('/', l.hold_id, l.resource_class, l.pool_id), f.kept, f.recounted
    FROM hold_line l
    LEFT JOIN moved m USING (hold_id, resource_class, pool_id)
    CROSS JOIN LATERAL (VALUES ('posted', l.posted, coalesce(m.posted, 0)), ('voided', l.voided, coalesce(m.voided, 0)),
                               ('released', l.released, coalesce(m.released, 0))) AS f (name, kept, recounted)
    WHERE f.kept <> f.recounted
    UNION ALL
    -- A closed hold holds nothing, an open one something.
    SELECT 'hold.state', concat_ws('/', h.id, h.state), o.held, 0
    FROM hold h
    CROSS JOIN LATERAL (SELECT coalesce(sum(amount - posted - voided), 0)::bigint AS held
                        FROM hold_line WHERE hold_id = h.id) AS o
    WHERE (h.state IN ('held', 'pinned')) <> (o.held > 0)
    ORDER BY 1, 2
$$;
