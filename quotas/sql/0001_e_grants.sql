-- What the runtime role may do: read every table, call the functions that are the interface, and nothing else.
-- It holds no INSERT, UPDATE or DELETE: the functions run as their owner and are the only way to move a number.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA quotas FROM PUBLIC;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        RETURN;  -- a database with a single role
    END IF;
    -- The owner's default privileges may have given more; a later file that makes a table has to do this again.
    REVOKE ALL ON ALL TABLES IN SCHEMA quotas FROM guiyun_app;
    REVOKE ALL ON ALL SEQUENCES IN SCHEMA quotas FROM guiyun_app;
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA quotas FROM guiyun_app;
    GRANT USAGE ON SCHEMA quotas TO guiyun_app;
    GRANT SELECT ON ALL TABLES IN SCHEMA quotas TO guiyun_app;
    GRANT EXECUTE ON FUNCTION
        quotas.add_node, quotas.set_limit, quotas.set_inventory, quotas.hold, quotas.pin, quotas.post, quotas.void,
        quotas.release, quotas.sweep, quotas.verify,
        quotas.ensure_pool, quotas.carve, quotas.allocate, quotas.turn, quotas.sweep_prefixes, quotas.verify_prefixes
    TO guiyun_app;
END $$;
