-- Amounts: the limit tree, the capacity of pools, holds, and the functions that count.
--
-- Frozen: migration 0001_quotas executes this text as it stands. Once released it never changes; a change is a new
-- file with the next number, CREATE OR REPLACE inside, executed by its own migration.
--
-- Who may write: only the functions below (SECURITY DEFINER, owned by the migrating role). The runtime role reads
-- tables and calls functions; it cannot move a counter by hand.
--
-- Locks, in this order, by every function that counts:
--   gate (shared)  ->  the hold's row  ->  finite limits, deepest node first  ->  inventory, by pool and class
-- One counting call per transaction can therefore not deadlock with any other. The gate is taken exclusively only
-- where a counter is created or removed (unlimited <-> finite): then nobody may be half-way through a count.
--
-- No foreign keys lead from hold, hold_line and movement to node, pool or class: such a key locks the row it points to
-- for every hold, and the root or a main cloud would become a queue. The functions check, and nothing is deleted.

CREATE TABLE quotas.resource_class (
    code text CONSTRAINT pk_resource_class PRIMARY KEY,
    -- A line of this class also counts in that one: vcpu_x86_64 in vcpu. Capacity is kept for the first, limits for either.
    counts_in text CONSTRAINT fk_resource_class_counts_in REFERENCES quotas.resource_class (code)
);

INSERT INTO quotas.resource_class (code, counts_in) VALUES
    ('vcpu', NULL), ('vcpu_x86_64', 'vcpu'), ('vcpu_aarch64', 'vcpu'),
    ('memory_gib', NULL), ('memory_gib_x86_64', 'memory_gib'), ('memory_gib_aarch64', 'memory_gib'),
    ('block_gib_ssd', NULL), ('block_gib_hdd', NULL), ('object_gib', NULL),
    ('ipv6_64', NULL), ('public_ip', NULL), ('gpu', NULL);

CREATE TABLE quotas.node (
    id uuid CONSTRAINT pk_node PRIMARY KEY,
    parent_id uuid CONSTRAINT fk_node_parent_id REFERENCES quotas.node (id),
    depth smallint NOT NULL CONSTRAINT ck_node_depth CHECK (depth BETWEEN 0 AND 63),
    path uuid[] NOT NULL,  -- this node first, the root last
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ck_node_path CHECK (path[1] = id AND cardinality(path) = depth + 1)
);
CREATE INDEX ix_node_parent_id ON quotas.node (parent_id);
CREATE INDEX ix_node_path ON quotas.node USING gin (path);

-- A finite limit and what is counted against it. No row: unlimited; then usage is summed from hold_line when asked for,
-- and nobody queues. A limit may stand below what is used (an overage): it then refuses growth, never a shrink.
CREATE TABLE quotas.node_limit (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_node_limit PRIMARY KEY,
    node_id uuid NOT NULL CONSTRAINT fk_node_limit_node_id REFERENCES quotas.node (id),
    resource_class text NOT NULL CONSTRAINT fk_node_limit_resource_class REFERENCES quotas.resource_class (code),
    pool_id uuid,  -- NULL: over all pools together
    limit_amount bigint NOT NULL CONSTRAINT ck_node_limit_limit_amount CHECK (limit_amount >= 0),
    used bigint NOT NULL DEFAULT 0 CONSTRAINT ck_node_limit_used CHECK (used >= 0),
    CONSTRAINT uq_node_limit_node_id_resource_class_pool_id UNIQUE NULLS NOT DISTINCT (node_id, resource_class, pool_id)
) WITH (fillfactor = 50);

-- What a pool (a sub-cloud) has. No row: it does not offer the class, and refuses. total NULL: not bounded here.
CREATE TABLE quotas.inventory (
    pool_id uuid NOT NULL,
    resource_class text NOT NULL CONSTRAINT fk_inventory_resource_class REFERENCES quotas.resource_class (code),
    total bigint CONSTRAINT ck_inventory_total CHECK (total >= 0),
    reserved bigint NOT NULL DEFAULT 0 CONSTRAINT ck_inventory_reserved CHECK (reserved >= 0),
    allocation_ratio numeric(10, 4) NOT NULL DEFAULT 1 CONSTRAINT ck_inventory_allocation_ratio CHECK (allocation_ratio > 0),
    step bigint NOT NULL DEFAULT 1 CONSTRAINT ck_inventory_step CHECK (step >= 1),
    -- greatest() ignores NULL, so that an unbounded total needs a case of its own
    capacity bigint GENERATED ALWAYS AS (
        CASE WHEN total IS NOT NULL THEN floor(greatest(total - reserved, 0) * allocation_ratio)::bigint END) STORED,
    used bigint NOT NULL DEFAULT 0 CONSTRAINT ck_inventory_used CHECK (used >= 0),
    CONSTRAINT pk_inventory PRIMARY KEY (pool_id, resource_class)
) WITH (fillfactor = 50);

CREATE TABLE quotas.hold (
    id uuid CONSTRAINT pk_hold PRIMARY KEY,
    owner uuid NOT NULL,
    node_id uuid NOT NULL,
    -- held: may expire; pinned: may not; done: nothing is held any more and something was posted
    state text NOT NULL CONSTRAINT ck_hold_state CHECK (state IN ('held', 'pinned', 'done', 'void', 'expired')),
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ix_hold_owner ON quotas.hold (owner);
CREATE INDEX ix_hold_node_id ON quotas.hold (node_id);
CREATE INDEX ix_hold_expires_at ON quotas.hold (expires_at) WHERE state = 'held';

-- held = amount - posted - voided; counted = amount - voided - released
CREATE TABLE quotas.hold_line (
    hold_id uuid NOT NULL CONSTRAINT fk_hold_line_hold_id REFERENCES quotas.hold (id) ON DELETE CASCADE,
    resource_class text NOT NULL,
    pool_id uuid NOT NULL,
    amount bigint NOT NULL CONSTRAINT ck_hold_line_amount CHECK (amount > 0),
    posted bigint NOT NULL DEFAULT 0,
    voided bigint NOT NULL DEFAULT 0,
    released bigint NOT NULL DEFAULT 0,
    CONSTRAINT pk_hold_line PRIMARY KEY (hold_id, resource_class, pool_id),
    CONSTRAINT ck_hold_line_balance CHECK (
        posted >= 0 AND voided >= 0 AND released >= 0 AND posted + voided <= amount AND released <= posted
    )
);
CREATE INDEX ix_hold_line_pool_id_resource_class ON quotas.hold_line (pool_id, resource_class);

-- The ledger: it only grows. A key makes a call count once; without one of its own, void and expire use the hold's id.
CREATE TABLE quotas.movement (
    kind text NOT NULL CONSTRAINT ck_movement_kind CHECK (kind IN ('post', 'void', 'expire', 'release')),
    key uuid NOT NULL,
    resource_class text NOT NULL,
    pool_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    amount bigint NOT NULL CONSTRAINT ck_movement_amount CHECK (amount > 0),
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_movement PRIMARY KEY (kind, key, resource_class, pool_id)
);
CREATE INDEX ix_movement_hold_id ON quotas.movement (hold_id);


-- The gate. 1902458740 is 'quot' in ASCII: a class of advisory locks of our own.
CREATE FUNCTION quotas.gate_shared() RETURNS void LANGUAGE sql
SET search_path = quotas, pg_temp AS $$ SELECT pg_advisory_xact_lock_shared(1902458740, 1) $$;

CREATE FUNCTION quotas.gate_exclusive() RETURNS void LANGUAGE sql
SET search_path = quotas, pg_temp AS $$ SELECT pg_advisory_xact_lock(1902458740, 1) $$;


-- Usage of a node and everything below it, summed from rows.
CREATE FUNCTION quotas.recount(p_node uuid, p_class text, p_pool uuid) RETURNS bigint LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT coalesce(sum(l.amount - l.voided - l.released), 0)::bigint
    FROM node n
    JOIN hold h ON h.node_id = n.id
    JOIN hold_line l ON l.hold_id = h.id
    JOIN resource_class c ON c.code = l.resource_class
    WHERE n.path @> ARRAY[p_node]
      AND p_class IN (c.code, c.counts_in)
      AND (p_pool IS NULL OR l.pool_id = p_pool)
$$;


-- Adds amounts (negative: gives back) to every finite limit above the nodes and to the pools' inventory: all or nothing.
-- Returns NULL, or every counter that refuses; then nothing has changed and the caller's transaction is still usable.
CREATE FUNCTION quotas.count_on(p_node uuid[], p_class text[], p_pool uuid[], p_amount bigint[]) RETURNS jsonb
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
DECLARE
    r record;
    v_limit bigint;
    v_used bigint;
    v_refused jsonb := '[]';
    v_limit_ids bigint[] := '{}';
    v_limit_deltas bigint[] := '{}';
    v_pools uuid[] := '{}';
    v_classes text[] := '{}';
    v_pool_deltas bigint[] := '{}';
BEGIN
    FOR r IN
        SELECT l.id, l.node_id, l.resource_class, l.pool_id, sum(a.amount)::bigint AS delta,
               min(n.depth - p.nth) AS depth
        FROM unnest(p_node, p_class, p_pool, p_amount) AS a (node_id, resource_class, pool_id, amount)
        JOIN resource_class c ON c.code = a.resource_class
        JOIN node n ON n.id = a.node_id
        CROSS JOIN LATERAL unnest(n.path) WITH ORDINALITY AS p (node_id, nth)
        JOIN node_limit l ON l.node_id = p.node_id
                         AND l.resource_class IN (c.code, c.counts_in)
                         AND (l.pool_id IS NULL OR l.pool_id = a.pool_id)
        GROUP BY l.id
        HAVING sum(a.amount) <> 0
        ORDER BY depth DESC, l.node_id, l.resource_class COLLATE "C", l.pool_id NULLS FIRST
    LOOP
        LOOP
            IF v_refused = '[]' THEN
                UPDATE node_limit SET used = used + r.delta
                WHERE id = r.id AND (r.delta < 0 OR used + r.delta <= limit_amount);
                IF FOUND THEN
                    v_limit_ids := v_limit_ids || r.id;
                    v_limit_deltas := v_limit_deltas || r.delta;
                    EXIT;
                END IF;
            END IF;
            SELECT limit_amount, used INTO v_limit, v_used FROM node_limit WHERE id = r.id;
            IF r.delta > 0 AND v_used + r.delta > v_limit THEN
                v_refused := v_refused || jsonb_build_object('cause', 'limit', 'node_id', r.node_id,
                    'resource_class', r.resource_class, 'pool_id', r.pool_id,
                    'limit', v_limit, 'used', v_used, 'asked', r.delta);
                EXIT;
            END IF;
            -- Room was made between the update and the look: try again, unless the whole is refused already.
            EXIT WHEN v_refused <> '[]';
        END LOOP;
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
        LOOP
            IF v_refused = '[]' THEN
                UPDATE inventory SET used = used + r.delta
                WHERE pool_id = r.pool_id AND resource_class = r.resource_class
                  AND (r.delta < 0 OR used + r.delta <= capacity);
                IF FOUND THEN
                    v_pools := v_pools || r.pool_id;
                    v_classes := v_classes || r.resource_class;
                    v_pool_deltas := v_pool_deltas || r.delta;
                    EXIT;
                END IF;
            END IF;
            SELECT capacity, used INTO v_limit, v_used FROM inventory
            WHERE pool_id = r.pool_id AND resource_class = r.resource_class;
            IF r.delta > 0 AND v_used + r.delta > v_limit THEN
                v_refused := v_refused || jsonb_build_object('cause', 'capacity', 'node_id', NULL,
                    'resource_class', r.resource_class, 'pool_id', r.pool_id,
                    'limit', v_limit, 'used', v_used, 'asked', r.delta);
                EXIT;
            END IF;
            EXIT WHEN v_refused <> '[]';
        END LOOP;
    END LOOP;

    IF v_refused = '[]' THEN
        RETURN NULL;
    END IF;
    -- Take back what was counted; these rows are still locked by us. Cheaper than a subtransaction for every hold.
    UPDATE node_limit l SET used = l.used - u.delta
    FROM unnest(v_limit_ids, v_limit_deltas) AS u (id, delta) WHERE l.id = u.id;
    UPDATE inventory i SET used = i.used - u.delta
    FROM unnest(v_pools, v_classes, v_pool_deltas) AS u (pool_id, resource_class, delta)
    WHERE i.pool_id = u.pool_id AND i.resource_class = u.resource_class;
    RETURN v_refused;
END $$;


-- Ends what the given holds (already locked by the caller) still hold: ledger, lines, state. Does not count.
CREATE FUNCTION quotas.close_rest(p_holds uuid[], p_kind text) RETURNS void
LANGUAGE plpgsql SET search_path = quotas, pg_temp AS $$
BEGIN
    INSERT INTO movement (kind, key, resource_class, pool_id, hold_id, amount)
    SELECT p_kind, hold_id, resource_class, pool_id, hold_id, amount - posted - voided
    FROM hold_line WHERE hold_id = ANY (p_holds) AND amount > posted + voided;

    UPDATE hold_line SET voided = amount - posted WHERE hold_id = ANY (p_holds) AND amount > posted + voided;

    UPDATE hold h SET changed_at = clock_timestamp(), state = CASE
        WHEN p_kind = 'expire' THEN 'expired'
        WHEN EXISTS (SELECT FROM hold_line l WHERE l.hold_id = h.id AND l.posted > 0) THEN 'done'
        ELSE 'void' END
    WHERE h.id = ANY (p_holds);
END $$;


CREATE FUNCTION quotas.add_node(p_id uuid, p_parent uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    IF p_parent IS NOT NULL AND NOT EXISTS (SELECT FROM node WHERE id = p_parent) THEN
        RETURN 'no_parent';
    END IF;
    INSERT INTO node (id, parent_id, depth, path)
    SELECT p_id, p_parent, coalesce(p.depth + 1, 0), p_id || coalesce(p.path, '{}')
    FROM (SELECT) AS one LEFT JOIN node p ON p.id = p_parent
    ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND AND (SELECT parent_id FROM node WHERE id = p_id) IS DISTINCT FROM p_parent THEN
        RETURN 'elsewhere';
    END IF;
    RETURN 'ok';
END $$;


CREATE FUNCTION quotas.set_limit(p_node uuid, p_class text, p_pool uuid, p_limit bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM node WHERE id = p_node) THEN
        RETURN 'no_node';
    END IF;
    IF p_limit IS NULL THEN
        PERFORM gate_exclusive();
        DELETE FROM node_limit
        WHERE node_id = p_node AND resource_class = p_class AND pool_id IS NOT DISTINCT FROM p_pool;
        RETURN 'ok';
    END IF;
    UPDATE node_limit SET limit_amount = p_limit
    WHERE node_id = p_node AND resource_class = p_class AND pool_id IS NOT DISTINCT FROM p_pool;
    IF NOT FOUND THEN
        -- From unlimited to finite: nobody may be counting while the counter is made from the rows.
        PERFORM gate_exclusive();
        INSERT INTO node_limit (node_id, resource_class, pool_id, limit_amount, used)
        VALUES (p_node, p_class, p_pool, p_limit, recount(p_node, p_class, p_pool))
        ON CONFLICT ON CONSTRAINT uq_node_limit_node_id_resource_class_pool_id
        DO UPDATE SET limit_amount = excluded.limit_amount;
    END IF;
    RETURN 'ok';
END $$;


CREATE FUNCTION quotas.set_inventory(
    p_pool uuid, p_class text, p_total bigint, p_reserved bigint, p_ratio numeric, p_step bigint
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
BEGIN
    UPDATE inventory SET total = p_total, reserved = p_reserved, allocation_ratio = p_ratio, step = p_step
    WHERE pool_id = p_pool AND resource_class = p_class AND (total IS NULL) = (p_total IS NULL);
    IF NOT FOUND THEN
        PERFORM gate_exclusive();
        INSERT INTO inventory (pool_id, resource_class, total, reserved, allocation_ratio, step, used)
        SELECT p_pool, p_class, p_total, p_reserved, p_ratio, p_step,
               CASE WHEN p_total IS NULL THEN 0 ELSE coalesce(sum(amount - voided - released), 0)::bigint END
        FROM hold_line WHERE pool_id = p_pool AND resource_class = p_class
        ON CONFLICT ON CONSTRAINT pk_inventory DO UPDATE
        SET total = excluded.total, reserved = excluded.reserved, allocation_ratio = excluded.allocation_ratio,
            step = excluded.step, used = excluded.used;
    END IF;
END $$;


-- One call, one round trip. With p_replaces only the difference to what that hold still holds is asked for.
CREATE FUNCTION quotas.hold(
    p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[],
    p_expires_at timestamptz, p_replaces uuid
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_old hold;
    v_nodes uuid[] := array_fill(p_node, ARRAY[cardinality(p_class)]);
    v_classes text[] := p_class;
    v_pools uuid[] := p_pool;
    v_amounts bigint[] := p_amount;
    v_refused jsonb;
    r record;
BEGIN
    PERFORM gate_shared();
    IF NOT EXISTS (SELECT FROM node WHERE id = p_node) THEN
        RETURN jsonb_build_object('outcome', 'no_node');
    END IF;
    INSERT INTO hold (id, owner, node_id, state, expires_at)
    VALUES (p_id, p_owner, p_node, 'held', p_expires_at) ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', CASE WHEN same THEN 'ok' ELSE 'conflict' END) FROM (
            SELECT (SELECT (owner, node_id) = (p_owner, p_node) FROM hold WHERE id = p_id) AND NOT EXISTS (
                SELECT FROM (SELECT resource_class, pool_id, amount FROM hold_line WHERE hold_id = p_id) l
                FULL JOIN unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
                    USING (resource_class, pool_id, amount)
                WHERE l IS NULL OR a IS NULL) AS same) AS compared;
    END IF;
    IF p_replaces IS NOT NULL THEN
        SELECT * INTO v_old FROM hold WHERE id = p_replaces FOR UPDATE;
        IF v_old.id IS NULL OR v_old.owner <> p_owner THEN
            DELETE FROM hold WHERE id = p_id;
            RETURN jsonb_build_object('outcome', CASE WHEN v_old.id IS NULL THEN 'unknown' ELSE 'not_yours' END);
        END IF;
        FOR r IN SELECT resource_class, pool_id, posted + voided - amount AS delta FROM hold_line
                 WHERE hold_id = p_replaces AND amount > posted + voided LOOP
            v_nodes := v_nodes || v_old.node_id;
            v_classes := v_classes || r.resource_class;
            v_pools := v_pools || r.pool_id;
            v_amounts := v_amounts || r.delta;
        END LOOP;
    END IF;

    v_refused := count_on(v_nodes, v_classes, v_pools, v_amounts);
    IF v_refused IS NOT NULL THEN
        DELETE FROM hold WHERE id = p_id;
        RETURN jsonb_build_object('outcome', 'refused', 'refused', v_refused);
    END IF;
    INSERT INTO hold_line (hold_id, resource_class, pool_id, amount)
    SELECT p_id, a.* FROM unnest(p_class, p_pool, p_amount) AS a;
    IF v_old.state IN ('held', 'pinned') THEN
        PERFORM close_rest(ARRAY[p_replaces], 'void');
    END IF;
    RETURN jsonb_build_object('outcome', 'ok');
END $$;


-- Returns 'ok', or the state that forbids it ('overdue' for a due hold that no sweep has met yet).
CREATE FUNCTION quotas.pin(p_hold uuid, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_state text;
BEGIN
    UPDATE hold SET state = 'pinned', changed_at = clock_timestamp()
    WHERE id = p_hold AND state = 'held' AND expires_at > coalesce(p_now, clock_timestamp());
    IF FOUND THEN
        RETURN 'ok';
    END IF;
    SELECT state INTO v_state FROM hold WHERE id = p_hold;
    RETURN CASE v_state WHEN 'pinned' THEN 'ok' WHEN 'done' THEN 'ok' WHEN 'held' THEN 'overdue'
           ELSE coalesce(v_state, 'unknown') END;
END $$;


-- Was this key used? 'no', 'same' (the same call again) or 'other' (another hold or other lines).
CREATE FUNCTION quotas.key_use(
    p_kind text, p_key uuid, p_hold uuid, p_class text[], p_pool uuid[], p_amount bigint[]
) RETURNS text LANGUAGE sql STABLE SET search_path = quotas, pg_temp AS $$
    SELECT CASE
        WHEN count(m.key) = 0 THEN 'no'
        WHEN bool_and(m.hold_id = p_hold) IS NOT TRUE THEN 'other'
        WHEN p_class IS NULL OR bool_and(m.key IS NOT NULL AND a.amount IS NOT NULL AND a.amount = m.amount) THEN 'same'
        ELSE 'other' END
    FROM (SELECT * FROM movement WHERE kind = p_kind AND key = p_key) AS m
    FULL JOIN unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
        ON a.resource_class = m.resource_class AND a.pool_id = m.pool_id
$$;


-- Held becomes used: no counter moves. Without lines: all that is still held.
CREATE FUNCTION quotas.post(
    p_hold uuid, p_key uuid, p_class text[], p_pool uuid[], p_amount bigint[], p_now timestamptz
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    h hold;
    v_use text;
    v_short jsonb;
BEGIN
    SELECT * INTO h FROM hold WHERE id = p_hold FOR UPDATE;
    IF h.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'unknown');
    END IF;
    v_use := key_use('post', p_key, p_hold, p_class, p_pool, p_amount);
    IF v_use <> 'no' THEN
        RETURN jsonb_build_object('outcome', CASE v_use WHEN 'same' THEN 'ok' ELSE 'key_reused' END);
    END IF;
    IF h.state IN ('void', 'expired') OR h.state = 'held' AND h.expires_at <= coalesce(p_now, clock_timestamp()) THEN
        RETURN jsonb_build_object('outcome', 'gone', 'state', CASE h.state WHEN 'held' THEN 'overdue' ELSE h.state END);
    END IF;
    SELECT jsonb_agg(jsonb_build_object('resource_class', a.resource_class, 'pool_id', a.pool_id, 'asked', a.amount,
                     'there', coalesce(l.amount - l.posted - l.voided, 0)))
    INTO v_short
    FROM unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
    LEFT JOIN hold_line l ON l.hold_id = p_hold AND l.resource_class = a.resource_class AND l.pool_id = a.pool_id
    WHERE a.amount > coalesce(l.amount - l.posted - l.voided, 0);
    IF v_short IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'short', 'short', v_short);
    END IF;

    INSERT INTO movement (kind, key, resource_class, pool_id, hold_id, amount)
    SELECT 'post', p_key, l.resource_class, l.pool_id, p_hold, coalesce(a.amount, l.amount - l.posted - l.voided)
    FROM hold_line l
    LEFT JOIN unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
        ON a.resource_class = l.resource_class AND a.pool_id = l.pool_id
    WHERE l.hold_id = p_hold AND l.amount > l.posted + l.voided AND (p_class IS NULL OR a.amount IS NOT NULL);
    UPDATE hold_line l SET posted = l.posted + m.amount
    FROM movement m
    WHERE m.kind = 'post' AND m.key = p_key AND l.hold_id = p_hold
      AND l.resource_class = m.resource_class AND l.pool_id = m.pool_id;
    UPDATE hold SET state = 'done', changed_at = clock_timestamp()
    WHERE id = p_hold AND state <> 'done'
      AND NOT EXISTS (SELECT FROM hold_line WHERE hold_id = p_hold AND amount > posted + voided);
    RETURN jsonb_build_object('outcome', 'ok');
END $$;


-- Gives back what is still held. Again, or after an expiry: nothing there, no harm.
CREATE FUNCTION quotas.void(p_hold uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    h hold;
    r record;
BEGIN
    PERFORM gate_shared();
    SELECT * INTO h FROM hold WHERE id = p_hold FOR UPDATE;
    IF h.id IS NULL THEN
        RETURN 'unknown';
    ELSIF h.state NOT IN ('held', 'pinned') THEN
        RETURN 'ok';
    END IF;
    SELECT array_agg(h.node_id) AS nodes, array_agg(resource_class) AS classes, array_agg(pool_id) AS pools,
           array_agg(posted + voided - amount) AS amounts
    INTO r FROM hold_line WHERE hold_id = p_hold AND amount > posted + voided;
    PERFORM count_on(r.nodes, r.classes, r.pools, r.amounts);
    PERFORM close_rest(ARRAY[p_hold], 'void');
    RETURN 'ok';
END $$;


-- Gives back what was posted, never more. Without lines: all that is posted and not yet released.
CREATE FUNCTION quotas.release(
    p_hold uuid, p_key uuid, p_class text[], p_pool uuid[], p_amount bigint[]
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    h hold;
    r record;
    v_use text;
    v_short jsonb;
BEGIN
    PERFORM gate_shared();
    SELECT * INTO h FROM hold WHERE id = p_hold FOR UPDATE;
    IF h.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'unknown');
    END IF;
    v_use := key_use('release', p_key, p_hold, p_class, p_pool, p_amount);
    IF v_use <> 'no' THEN
        RETURN jsonb_build_object('outcome', CASE v_use WHEN 'same' THEN 'ok' ELSE 'key_reused' END);
    END IF;
    SELECT jsonb_agg(jsonb_build_object('resource_class', a.resource_class, 'pool_id', a.pool_id, 'asked', a.amount,
                     'there', coalesce(l.posted - l.released, 0)))
    INTO v_short
    FROM unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
    LEFT JOIN hold_line l ON l.hold_id = p_hold AND l.resource_class = a.resource_class AND l.pool_id = a.pool_id
    WHERE a.amount > coalesce(l.posted - l.released, 0);
    IF v_short IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'short', 'short', v_short);
    END IF;

    INSERT INTO movement (kind, key, resource_class, pool_id, hold_id, amount)
    SELECT 'release', p_key, l.resource_class, l.pool_id, p_hold, coalesce(a.amount, l.posted - l.released)
    FROM hold_line l
    LEFT JOIN unnest(p_class, p_pool, p_amount) AS a (resource_class, pool_id, amount)
        ON a.resource_class = l.resource_class AND a.pool_id = l.pool_id
    WHERE l.hold_id = p_hold AND l.posted > l.released AND (p_class IS NULL OR a.amount IS NOT NULL);
    UPDATE hold_line l SET released = l.released + m.amount
    FROM movement m
    WHERE m.kind = 'release' AND m.key = p_key AND l.hold_id = p_hold
      AND l.resource_class = m.resource_class AND l.pool_id = m.pool_id;
    SELECT array_agg(h.node_id) AS nodes, array_agg(resource_class) AS classes, array_agg(pool_id) AS pools,
           array_agg(-amount) AS amounts
    INTO r FROM movement WHERE kind = 'release' AND key = p_key;
    PERFORM count_on(r.nodes, r.classes, r.pools, r.amounts);
    RETURN jsonb_build_object('outcome', 'ok');
END $$;


-- Expires holds that are due, at most p_limit, passing by those that somebody is working on.
CREATE FUNCTION quotas.sweep(p_now timestamptz, p_limit int)
RETURNS TABLE (hold_id uuid, owner uuid, node_id uuid, lines jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_ids uuid[];
    r record;
BEGIN
    PERFORM gate_shared();
    SELECT array_agg(due.id) INTO v_ids FROM (
        SELECT id FROM hold WHERE state = 'held' AND expires_at <= p_now
        ORDER BY expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED) AS due;
    IF v_ids IS NULL THEN
        RETURN;
    END IF;
    SELECT array_agg(h.node_id) AS nodes, array_agg(l.resource_class) AS classes, array_agg(l.pool_id) AS pools,
           array_agg(l.posted + l.voided - l.amount) AS amounts
    INTO r FROM hold_line l JOIN hold h ON h.id = l.hold_id
    WHERE l.hold_id = ANY (v_ids) AND l.amount > l.posted + l.voided;
    PERFORM count_on(r.nodes, r.classes, r.pools, r.amounts);
    PERFORM close_rest(v_ids, 'expire');
    RETURN QUERY
        SELECT h.id, h.owner, h.node_id, coalesce(jsonb_agg(jsonb_build_object('resource_class', m.resource_class,
               'pool_id', m.pool_id, 'amount', m.amount)) FILTER (WHERE m.key IS NOT NULL), '[]')
        FROM hold h LEFT JOIN movement m ON m.kind = 'expire' AND m.key = h.id
        WHERE h.id = ANY (v_ids) GROUP BY h.id;
END $$;


-- Every number that differs when it is counted again from the rows it stands for; one statement, one snapshot.
CREATE FUNCTION quotas.verify() RETURNS TABLE (what text, id text, kept bigint, recounted bigint) LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
    WITH counted AS (
        SELECT h.node_id, l.resource_class, l.pool_id, sum(l.amount - l.voided - l.released)::bigint AS amount
        FROM hold_line l JOIN hold h ON h.id = l.hold_id GROUP BY 1, 2, 3
    ), on_limit AS (
        SELECT l.id, sum(a.amount)::bigint AS used
        FROM counted a
        JOIN resource_class c ON c.code = a.resource_class
        JOIN node n ON n.id = a.node_id
        CROSS JOIN LATERAL unnest(n.path) AS p (node_id)
        JOIN node_limit l ON l.node_id = p.node_id AND l.resource_class IN (c.code, c.counts_in)
                         AND (l.pool_id IS NULL OR l.pool_id = a.pool_id)
        GROUP BY l.id
    ), on_pool AS (
        SELECT pool_id, resource_class, sum(amount)::bigint AS used FROM counted GROUP BY 1, 2
    ), moved AS (
        SELECT hold_id, resource_class, pool_id,
               coalesce(sum(amount) FILTER (WHERE kind = 'post'), 0)::bigint AS posted,
               coalesce(sum(amount) FILTER (WHERE kind IN ('void', 'expire')), 0)::bigint AS voided,
               coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0)::bigint AS released
        FROM movement GROUP BY 1, 2, 3
    )
    SELECT 'node_limit', concat_ws('/', l.node_id, l.resource_class, l.pool_id), l.used, coalesce(o.used, 0)
    FROM node_limit l LEFT JOIN on_limit o ON o.id = l.id
    WHERE l.used <> coalesce(o.used, 0)
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
