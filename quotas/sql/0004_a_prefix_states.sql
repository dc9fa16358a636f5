-- The IPv6 plan, second edition: what the tables of 0001_d_prefixes.sql get in addition. Frozen like it.
--
-- New: reservations (a state), a label, unique local space for private domains, and indexes that an allocation need not
-- touch when it has nothing to say to them (docs/decisions/0007-ipv6-plan.md).

-- reserved: an operator keeps a range free, with a reason; it is nobody's and lasts until it is lifted.
ALTER TABLE quotas.prefix_allocation
    DROP CONSTRAINT ck_prefix_allocation_state,
    DROP CONSTRAINT ex_prefix_allocation_overlap,
    ADD COLUMN label text NOT NULL DEFAULT '' CONSTRAINT ck_prefix_allocation_label CHECK (length(label) <= 200),
    ADD CONSTRAINT ck_prefix_allocation_state
        CHECK (state IN ('held', 'active', 'quarantined', 'reserved', 'freed', 'spent')),
    ADD CONSTRAINT ck_prefix_allocation_reason CHECK (state <> 'reserved' OR label <> ''),
    ADD CONSTRAINT ck_prefix_allocation_prefix CHECK (family(prefix) = 6 AND masklen(prefix) <= 64),
    ADD CONSTRAINT ex_prefix_allocation_overlap EXCLUDE USING gist (domain_id WITH =, prefix inet_ops WITH &&)
        WHERE (state IN ('held', 'active', 'quarantined', 'reserved'));

DROP INDEX quotas.uq_prefix_allocation_owner, quotas.ix_prefix_allocation_gaps, quotas.ix_prefix_allocation_until,
    quotas.ix_prefix_allocation_history;
CREATE UNIQUE INDEX uq_prefix_allocation_owner ON quotas.prefix_allocation (owner)
    WHERE state IN ('held', 'active', 'reserved');
CREATE INDEX ix_prefix_allocation_gaps ON quotas.prefix_allocation (pool_id, first_64) INCLUDE (count_64)
    WHERE state IN ('held', 'active', 'quarantined', 'reserved');
CREATE INDEX ix_prefix_allocation_until ON quotas.prefix_allocation (until)
    WHERE state IN ('held', 'quarantined') AND until IS NOT NULL;
CREATE INDEX ix_prefix_allocation_history ON quotas.prefix_allocation (owner, changed_at)
    WHERE state IN ('quarantined', 'freed', 'spent');

-- Whose space a pool is cut from: 0 is everybody's and is given once, whatever the zone; a private domain's unique local
-- addresses (RFC 4193) are its own, so that departments may use the same ones. Below the roots nesting does the rest.
ALTER TABLE quotas.prefix_pool ADD COLUMN space_id integer NOT NULL DEFAULT 0;
UPDATE quotas.prefix_pool p SET space_id = p.domain_id FROM quotas.routing_domain d
WHERE d.id = p.domain_id AND d.zone = 'private' AND p.prefix <<= 'fc00::/7';
ALTER TABLE quotas.prefix_pool ADD CONSTRAINT ex_prefix_pool_space
    EXCLUDE USING gist (space_id WITH =, prefix inet_ops WITH &&) WHERE (depth = 0);


-- A pool with exactly this prefix, idempotent. Pools and reservations of one domain are made one at a time.
CREATE OR REPLACE FUNCTION quotas.ensure_pool(
    p_id uuid, p_parent uuid, p_level text, p_zone text, p_domain text, p_prefix cidr, p_hands_out boolean
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = quotas, pg_temp AS $$
DECLARE
    v_domain routing_domain;
    v_parent prefix_pool;
    v_space int;
BEGIN
    INSERT INTO routing_domain (code, zone) VALUES (p_domain, p_zone) ON CONFLICT DO NOTHING;
    SELECT * INTO v_domain FROM routing_domain WHERE code = p_domain FOR NO KEY UPDATE;
    IF v_domain.zone IS DISTINCT FROM p_zone THEN
        RETURN 'wrong_zone';
    END IF;
    v_space := CASE WHEN p_zone = 'private' AND p_prefix <<= 'fc00::/7' THEN v_domain.id ELSE 0 END;
    IF p_parent IS NOT NULL THEN
        SELECT * INTO v_parent FROM prefix_pool WHERE id = p_parent;
        IF v_parent.id IS NULL THEN
            RETURN 'no_parent';
        ELSIF v_parent.hands_out OR v_parent.domain_id <> v_domain.id OR NOT p_prefix << v_parent.prefix THEN
            RETURN 'outside_parent';
        END IF;
    END IF;
    IF EXISTS (SELECT FROM prefix_pool WHERE id = p_id) THEN
        RETURN CASE WHEN EXISTS (SELECT FROM prefix_pool WHERE id = p_id AND prefix = p_prefix
                                 AND domain_id = v_domain.id AND hands_out = p_hands_out
                                 AND parent_id IS NOT DISTINCT FROM p_parent) THEN 'ok' ELSE 'different' END;
    ELSIF is_reserved(v_domain.id, p_prefix) THEN
        RETURN 'reserved';
    END IF;
    INSERT INTO prefix_pool (id, parent_id, depth, level, domain_id, space_id, prefix, hands_out)
    VALUES (p_id, p_parent, coalesce(v_parent.depth + 1, 0), p_level, v_domain.id, v_space, p_prefix, p_hands_out)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'overlaps';
    END IF;
    IF p_hands_out THEN
        PERFORM make_cursors(p_id, p_prefix, 64);
    END IF;
    RETURN 'ok';
END $$;


CREATE FUNCTION quotas.is_reserved(p_domain int, p_prefix cidr) RETURNS boolean LANGUAGE sql STABLE
SET search_path = quotas, pg_temp AS $$
    SELECT EXISTS (SELECT FROM prefix_allocation
                   WHERE domain_id = p_domain AND prefix && p_prefix AND state = 'reserved'
                   AND state IN ('held', 'active', 'quarantined', 'reserved'))
$$;


-- A child pool of the next level: the sparsest free place below the parent. Children of one parent are few (one writer).
CREATE OR REPLACE FUNCTION quotas.carve(
    p_id uuid, p_parent uuid, p_level text, p_length int, p_hands_out boolean
) RETURNS text
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
    PERFORM FROM routing_domain WHERE id = v_parent.domain_id FOR NO KEY UPDATE;
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
        CONTINUE WHEN EXISTS (SELECT FROM prefix_pool WHERE parent_id = p_parent AND prefix && v_prefix)
                   OR is_reserved(v_parent.domain_id, v_prefix);
        INSERT INTO prefix_pool (id, parent_id, depth, level, domain_id, space_id, prefix, hands_out)
        VALUES (p_id, p_parent, v_parent.depth + 1, p_level, v_parent.domain_id, v_parent.space_id, v_prefix,
                p_hands_out)
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
