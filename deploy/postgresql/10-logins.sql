-- Roles and logins of an installation, each login with no more than its processes need. Run once, as a superuser,
-- before the first `algasync migrate`; passwords are set apart (deploy/secrets.sh writes them to 20-passwords.sql).
--
--   algasync_migrator   runs migrations (owns the schema through algasync_owner)
--   algasync_worker     relay, dispatcher, scheduler, collector, workers, operators' commands
--   algasync_server     the API: one tenant at a time, under row-level security
--
-- The PSA's own login, when it shares the database, is granted algasync_emit and nothing else.
CREATE ROLE algasync_owner NOLOGIN;
CREATE ROLE algasync_api NOLOGIN;
CREATE ROLE algasync_fleet NOLOGIN;
CREATE ROLE algasync_emit NOLOGIN;

CREATE ROLE algasync_migrator LOGIN;  -- inherits: it hands the schema to algasync_owner and goes on working in it
GRANT algasync_owner, algasync_api, algasync_fleet, algasync_emit TO algasync_migrator;
CREATE ROLE algasync_worker LOGIN NOINHERIT;
GRANT algasync_fleet TO algasync_worker;
CREATE ROLE algasync_server LOGIN NOINHERIT;
GRANT algasync_api TO algasync_server;

DO $$ BEGIN
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT, TEMPORARY, CREATE ON DATABASE %I TO algasync_migrator', current_database());
  EXECUTE format('GRANT CREATE ON DATABASE %I TO algasync_owner', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO algasync_worker, algasync_server', current_database());
END $$;
