-- What comes from Intuit unasked, and what the tokens' ends are told by: webhook events seen, token notices.

-- Intuit repeats a post until it is answered, and sometimes without reason; a hash, because ids are opaque and long.
CREATE TABLE webhook_event (
  company_id  uuid NOT NULL REFERENCES company,
  tenant_id   text NOT NULL,
  event_hash  bytea NOT NULL,
  seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (company_id, event_hash)
);
CREATE INDEX webhook_event_age ON webhook_event (seen_at);
SELECT protect('webhook_event', '', 'SELECT, DELETE');

-- One post speaks of companies of several tenants. This finds whose they are and which events are new; rows come
-- only for active companies. Rows are taken in one order, so that two posts at once cannot wait for each other.
CREATE FUNCTION webhook_events_take_v1(in_environment text, realms text[], hashes bytea[])
RETURNS TABLE (place bigint, company_id uuid, tenant_id text, fresh boolean)
LANGUAGE sql SECURITY DEFINER SET search_path = algasync, pg_catalog AS $$
  WITH ours AS (
    SELECT g.place, g.hash, c.company_id, c.tenant_id
      FROM unnest(realms, hashes) WITH ORDINALITY AS g (realm, hash, place)
      JOIN company c ON c.environment = in_environment AND c.realm_id = g.realm AND c.state = 'active'
  ), stored AS (
    INSERT INTO webhook_event AS w (company_id, tenant_id, event_hash)
    SELECT DISTINCT o.company_id, o.tenant_id, o.hash FROM ours o ORDER BY o.company_id, o.hash
    ON CONFLICT DO NOTHING RETURNING w.company_id, w.event_hash
  )
  SELECT o.place, o.company_id, o.tenant_id, s.event_hash IS NOT NULL
    FROM ours o LEFT JOIN stored s ON s.company_id = o.company_id AND s.event_hash = o.hash
   ORDER BY o.company_id, o.place
$$;
GRANT EXECUTE ON FUNCTION webhook_events_take_v1 TO algasync_api;

-- What an accounting admin was told about the coming end of an authorization, once for each band of days.
CREATE TABLE token_notice (
  company_id  uuid NOT NULL REFERENCES company,
  tenant_id   text NOT NULL,
  ends_at     timestamptz NOT NULL,             -- of the token it is about: a reconnect brings another end
  days        smallint NOT NULL CHECK (days IN (14, 7, 2)),
  hard        boolean NOT NULL,                 -- Intuit's fixed end, which use does not move
  told_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (company_id, ends_at, days)
);
SELECT protect('token_notice', 'SELECT', 'SELECT, INSERT');
