-- What the runtime role may do with what 0018 made. See 0001_e_grants.sql.

REVOKE ALL ON FUNCTION quotas.count_on, quotas.count_each, quotas.group_that_gathers, quotas.wish_for FROM PUBLIC;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        RETURN;  -- a database with a single role
    END IF;
    REVOKE ALL ON SEQUENCE quotas.hold_group FROM guiyun_app;
    GRANT USAGE ON SEQUENCE quotas.hold_group TO guiyun_app;
    GRANT UPDATE ON quotas.wish TO guiyun_app;
    REVOKE ALL ON FUNCTION quotas.count_on, quotas.count_each FROM guiyun_app;
    GRANT EXECUTE ON FUNCTION quotas.group_that_gathers, quotas.wish_for TO guiyun_app;
END $$;
