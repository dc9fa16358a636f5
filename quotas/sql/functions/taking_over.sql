-- Taking a place that is named: reservations, and prefixes that exist already.

-- Takes exactly this place, in the deepest pool around it. The same again: "same", also of what rests, where it is to rest.
CREATE OR REPLACE FUNCTION quotas.take_place(
    p_id uuid, p_domain int, p_owner uuid, p_prefix cidr, p_state text, p_until timestamptz, p_label text
) RETURNS jsonb
LANGUAGE plpgsql SET search_path = quotas, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    v_pool prefix_pool;
    v_other prefix_allocation;
BEGIN
    SELECT * INTO v_pool FROM prefix_pool WHERE domain_id = p_domain AND prefix >>= p_prefix ORDER BY depth DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'outside');
    ELSIF NOT v_pool.hands_out AND p_state <> 'reserved' THEN
        RETURN jsonb_build_object('outcome', 'hands_out_nothing', 'pool', v_pool.prefix);
    END IF;
    BEGIN
        INSERT INTO prefix_allocation (id, pool_id, domain_id, owner, prefix, first_64, count_64, state, until, label)
        VALUES (p_id, v_pool.id, p_domain, p_owner, p_prefix, place_of(v_pool.prefix, p_prefix),
                1::bigint << (64 - masklen(p_prefix)), p_state, p_until, p_label)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN jsonb_build_object('outcome', 'ok', 'pool', v_pool.prefix);
        END IF;
    EXCEPTION WHEN lock_not_available THEN
        RETURN jsonb_build_object('outcome', 'busy');
    END;
    SELECT * INTO v_other FROM prefix_allocation WHERE owner = p_owner AND state IN ('held', 'active', 'reserved');
    IF v_other.id IS NULL AND p_state = 'quarantined' THEN
        SELECT * INTO v_other FROM prefix_allocation
        WHERE owner = p_owner AND state = 'quarantined' AND domain_id = p_domain AND prefix = p_prefix;
    END IF;
    IF v_other.prefix = p_prefix AND v_other.domain_id = p_domain THEN
        RETURN jsonb_build_object('outcome', 'same', 'pool', v_pool.prefix, 'state', v_other.state);
    ELSIF v_other.id IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'has_another', 'prefix', v_other.prefix);
    ELSIF EXISTS (SELECT FROM prefix_allocation WHERE id = p_id) THEN
        RETURN jsonb_build_object('outcome', 'id_taken');
    END IF;
    RETURN jsonb_build_object('outcome', 'overlaps', 'by', in_the_way(p_domain, p_prefix, NULL, 5));
END $$;
