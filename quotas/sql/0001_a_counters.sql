-- Amounts: the limit tree, the capacity of pools, holds and the ledger; the functions follow in the next two files.
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
-- Plans: the planner takes the length of an array parameter for a reason to plan anew in every call, which costs more than
-- the call. The functions that take arrays therefore force a generic plan (a hold: 1.3 ms before, 0.2-0.4 ms after).
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
