-- What the engine is compared with: other designs of our own on its tables, and what others do on tables of theirs.
--
-- Executed by benchmarks/quotas.py in a database of the benchmark's own. Nothing of it is used by the product.

CREATE SCHEMA bench;

-- Design: 16 counters for the root instead of one. Everything else is what quotas.hold does: the same classes, stock and
-- borrowing limits below; the root's limit is taken away meanwhile. A hold takes any shard that nobody holds and that has
-- room left of its share; when none has, all are locked in order and the sum decides (and is spread again), which is
-- exact. Only what a root may have to book for guarantees is left out.
CREATE TABLE bench.shard (
    shard int PRIMARY KEY,
    share bigint NOT NULL,
    used bigint NOT NULL CHECK (used BETWEEN 0 AND share)
) WITH (fillfactor = 50);

CREATE FUNCTION bench.hold_sharded(p_id uuid, p_owner uuid, p_node uuid, p_class text[], p_pool uuid[], p_amount bigint[],
                                   p_expires_at timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_answer jsonb := quotas.hold(p_id, p_owner, p_node, p_class, p_pool, p_amount, p_expires_at, NULL);
    v_asked bigint;
    v_shard int;
    v_free bigint;
BEGIN
    SELECT sum(amount)::bigint INTO v_asked
    FROM unnest(p_class, p_amount) AS a (class, amount) JOIN quotas.resource_class c ON c.code = a.class
    WHERE 'vcpu_x86_64' IN (c.code, c.counts_in);
    IF v_answer ->> 'outcome' <> 'ok' OR v_asked IS NULL THEN
        RETURN v_answer;
    END IF;
    SELECT shard INTO v_shard FROM bench.shard WHERE used + v_asked <= share
    ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF v_shard IS NULL THEN
        PERFORM FROM bench.shard ORDER BY shard FOR UPDATE;
        SELECT sum(share - used)::bigint INTO v_free FROM bench.shard;
        IF v_free < v_asked THEN
            RAISE EXCEPTION 'full';
        END IF;
        -- div() and the rest by hand: sum(bigint) is numeric, and a division of it rounds.
        UPDATE bench.shard SET share = used + div(v_free, 16)::bigint + CASE WHEN shard < v_free % 16 THEN 1 ELSE 0 END;
        SELECT shard INTO v_shard FROM bench.shard WHERE used + v_asked <= share ORDER BY shard LIMIT 1;
        IF v_shard IS NULL THEN
            UPDATE bench.shard SET share = used + CASE shard WHEN 0 THEN v_free ELSE 0 END;
            v_shard := 0;
        END IF;
    END IF;
    UPDATE bench.shard SET used = used + v_asked WHERE shard = v_shard;
    RETURN v_answer;
END $$;

-- Design: one writer that has collected many callers.
CREATE FUNCTION bench.hold_batch(p_owner uuid, p_nodes uuid[], p_class text, p_pool uuid, p_expires_at timestamptz)
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_ids uuid[];
BEGIN
    PERFORM quotas.gate_shared();
    SELECT array_agg(gen_random_uuid()) INTO v_ids FROM unnest(p_nodes);
    INSERT INTO quotas.hold (id, owner, node_id, state, expires_at)
    SELECT u.id, p_owner, u.node, 'held', p_expires_at FROM unnest(v_ids, p_nodes) AS u (id, node);
    IF quotas.count_on(p_nodes, array_fill(p_class, ARRAY[cardinality(p_nodes)]),
                       array_fill(p_pool, ARRAY[cardinality(p_nodes)]),
                       array_fill(1::bigint, ARRAY[cardinality(p_nodes)])) IS NOT NULL THEN
        RAISE EXCEPTION 'full';
    END IF;
    INSERT INTO quotas.hold_line (hold_id, resource_class, pool_id, amount) SELECT id, p_class, p_pool, 1 FROM unnest(v_ids) AS u (id);
    INSERT INTO quotas.granted (holds, nodes, classes, pools, amounts, owners, deadlines)
    VALUES (v_ids, p_nodes, array_fill(p_class, ARRAY[cardinality(p_nodes)]), array_fill(p_pool, ARRAY[cardinality(p_nodes)]),
            array_fill(1::bigint, ARRAY[cardinality(p_nodes)]), array_fill(p_owner, ARRAY[cardinality(p_nodes)]),
            array_fill(p_expires_at, ARRAY[cardinality(p_nodes)]));
END $$;

-- Bare commits: one small row each.
CREATE TABLE bench.nothing (id uuid, at timestamptz);

-- What others do: a tree of numbers, with a counter each or none, and a row for each allocation.
CREATE TABLE bench.node (id int PRIMARY KEY, city int, county int, limit_amount bigint NOT NULL, used bigint NOT NULL DEFAULT 0)
WITH (fillfactor = 50);
CREATE TABLE bench.allocation (
    id uuid PRIMARY KEY, root int NOT NULL, city int NOT NULL, county int NOT NULL, leaf int NOT NULL, amount bigint NOT NULL
);
CREATE INDEX ON bench.allocation (city);
CREATE INDEX ON bench.allocation (county);
CREATE INDEX ON bench.allocation (leaf);
