-- The operators' and admins' desk: one order of locks, causes that are worked off, and where an act came from.

-- Locks are taken in one order: operation, timeline, exception, letter. Whoever will change an exception of a subject
-- takes the subject's timeline first, before it knows whether there is anything to write.
CREATE FUNCTION timeline_lock(tenant text, kind text, id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
DECLARE
  scope text := current_setting('algasync.tenant', true);
BEGIN
  IF scope IS NULL OR (scope <> tenant AND NOT (scope = '*' AND session_user_may_cross())) THEN
    RAISE EXCEPTION 'timeline of tenant % locked from the scope of %', tenant, coalesce(scope, 'no tenant')
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO timeline_head AS h VALUES (tenant, kind, id, 0, '\x')
    ON CONFLICT (tenant_id, subject_kind, subject_id) DO UPDATE SET position = h.position;
END $$;
GRANT EXECUTE ON FUNCTION timeline_lock TO algasync_api, algasync_fleet;

-- As before, and with where the act came from (address, key, user, request), which the API says once a transaction.
CREATE OR REPLACE FUNCTION timeline_append(tenant text, kind text, id text, who text, what text, facts jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
DECLARE
  scope text := current_setting('algasync.tenant', true);
  via   text := current_setting('algasync.via', true);
  last  timeline_head;
  moment timestamptz := clock_timestamp();
  link  bytea;
BEGIN
  IF scope IS NULL OR (scope <> tenant AND NOT (scope = '*' AND session_user_may_cross())) THEN
    RAISE EXCEPTION 'timeline of tenant % written from the scope of %', tenant, coalesce(scope, 'no tenant')
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF via <> '' THEN
    facts := facts || jsonb_build_object('via', via::jsonb);
  END IF;
  INSERT INTO timeline_head AS h VALUES (tenant, kind, id, 1, '\x')
    ON CONFLICT (tenant_id, subject_kind, subject_id) DO UPDATE SET position = h.position + 1
    RETURNING * INTO last;
  link := timeline_hash(last.hash, tenant, kind, id, last.position, moment, who, what, facts);
  INSERT INTO timeline VALUES (tenant, kind, id, last.position, moment, who, what, facts, last.hash, link);
  UPDATE timeline_head SET hash = link WHERE tenant_id = tenant AND subject_kind = kind AND subject_id = id;
  RETURN last.position;
END $$;

-- A cause that was mended while many operations rest on it: the fleet starts them, each in a transaction of its own.
CREATE TABLE cause_release (
  tenant_id  text NOT NULL,
  cause      text NOT NULL,
  actor      text NOT NULL,
  reason     text NOT NULL,
  asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, cause)
);
SELECT protect('cause_release', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE, DELETE');

-- Lists in the order in which people read them.
CREATE INDEX exception_newest ON exception (tenant_id, created_at, exception_id);
CREATE INDEX exception_amount ON exception (tenant_id, amount, exception_id);
CREATE INDEX exception_seen ON exception (tenant_id, last_seen_at, exception_id);
