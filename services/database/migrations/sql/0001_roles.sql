-- Roles, each with the least it needs, and the one way a tenant table is protected.
--
--   algasync_owner   owns everything; only migrations act as it
--   algasync_api     reads and writes one tenant at a time
--   algasync_fleet   workers; one tenant at a time, or all of them in a transaction that says so ('*')
--   algasync_emit    may call outbox_emit_v1 and nothing else (the PSA's own login is made a member of it)
--
-- Roles belong to the whole server, so another database of it may have made them already.
DO $$
DECLARE
  wanted text;
  usable boolean;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['algasync_owner', 'algasync_api', 'algasync_fleet', 'algasync_emit'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;  -- made by a migration of another database at the same moment
      END;
    END IF;
    -- From PostgreSQL 16 on, whoever makes a role may administer it but not act as it until it is granted.
    IF current_setting('server_version_num')::integer >= 160000 THEN
      usable := pg_has_role(current_user, wanted, 'SET');
    ELSE
      usable := pg_has_role(current_user, wanted, 'MEMBER');
    END IF;
    IF NOT usable THEN
      EXECUTE format('GRANT %I TO %I', wanted, current_user);
    END IF;
  END LOOP;
END $$;

ALTER SCHEMA algasync OWNER TO algasync_owner;
GRANT USAGE ON SCHEMA algasync TO algasync_api, algasync_fleet, algasync_emit;
REVOKE ALL ON SCHEMA algasync FROM PUBLIC;
DO $$ BEGIN
  -- the login that migrates keeps writing Alembic's own table
  EXECUTE format('GRANT USAGE, CREATE ON SCHEMA algasync TO %I', session_user);
END $$;

-- Every process may ask whether the database is at the revision it needs.
GRANT SELECT ON algasync.alembic_version TO algasync_api, algasync_fleet;

SET LOCAL ROLE algasync_owner;
SET LOCAL search_path TO algasync, pg_catalog;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Row-level security for a table with a tenant_id column. `api_can` and `fleet_can` are lists of privileges.
CREATE FUNCTION protect(target regclass, api_can text, fleet_can text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
  EXECUTE format('CREATE POLICY owner_rows ON %s TO algasync_owner USING (true) WITH CHECK (true)', target);
  EXECUTE format('CREATE POLICY api_rows ON %s TO algasync_api'
    ' USING (tenant_id = current_setting(''algasync.tenant'', true))'
    ' WITH CHECK (tenant_id = current_setting(''algasync.tenant'', true))', target);
  EXECUTE format('CREATE POLICY fleet_rows ON %s TO algasync_fleet'
    ' USING (current_setting(''algasync.tenant'', true) IN (''*'', tenant_id))'
    ' WITH CHECK (current_setting(''algasync.tenant'', true) IN (''*'', tenant_id))', target);
  IF api_can <> '' THEN
    EXECUTE format('GRANT %s ON %s TO algasync_api', api_can, target);
  END IF;
  IF fleet_can <> '' THEN
    EXECUTE format('GRANT %s ON %s TO algasync_fleet', fleet_can, target);
  END IF;
END $$;
