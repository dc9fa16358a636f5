-- What the runtime role may do with what 0003 made. See 0001_e_grants.sql.

REVOKE ALL ON FUNCTION
    quotas.limits_above, quotas.guarantees_below, quotas.booked_below, quotas.set_limit, quotas.recounted_limits,
    quotas.wish_for, quotas.answer_to, quotas.serve_wishes,
    quotas.count_alone
FROM PUBLIC;
REVOKE ALL ON PROCEDURE quotas.hold_together FROM PUBLIC;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
        RETURN;  -- a database with a single role
    END IF;
    REVOKE ALL ON quotas.wish FROM guiyun_app;
    GRANT SELECT ON quotas.wish TO guiyun_app;
    GRANT EXECUTE ON FUNCTION
        quotas.set_limit, quotas.wish_for, quotas.answer_to, quotas.serve_wishes, quotas.count_alone
    TO guiyun_app;
    GRANT EXECUTE ON PROCEDURE quotas.hold_together TO guiyun_app;
END $$;
