-- Who may call what: the runtime role these, which are the interface, and nobody else anything. Executed after the functions, with
-- all that stands in the schema: what is not named here is for the functions themselves.

REVOKE ALL ON ALL ROUTINES IN SCHEMA quotas FROM PUBLIC;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        RETURN;  -- a database with a single role
    END IF;
    REVOKE ALL ON ALL ROUTINES IN SCHEMA quotas FROM guiyun_app;  -- the owner's default privileges may have given more
    GRANT EXECUTE ON ROUTINE
        quotas.add_node, quotas.move_node, quotas.move_holds, quotas.reshape_alone, quotas.lowest,
        quotas.set_limit, quotas.set_inventory,
        quotas.hold, quotas.pin, quotas.post, quotas.void, quotas.release, quotas.sweep, quotas.count_alone, quotas.verify,
        quotas.hold_together, quotas.wish_for, quotas.group_that_gathers, quotas.serve_wishes,
        quotas.ensure_pool, quotas.carve, quotas.allocate, quotas.allocate_many, quotas.turn, quotas.give_back, quotas.grow,
        quotas.reserve, quotas.lift, quotas.take_over, quotas.sweep_prefixes, quotas.verify_prefixes,
        quotas.space_of  -- to look where the exclusion's index looks
    TO guiyun_app;
END $$;
