-- The API: keys of its callers, outcomes of repeated requests, and what its role may do beyond reading.

-- Only the SHA-256 of a key is stored. The API's own role cannot read this table; it asks `api_key_find_v1`.
CREATE TABLE api_key (
  key_id        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id     text NOT NULL,
  name          text NOT NULL CHECK (name <> ''),
  prefix        text NOT NULL,                  -- first characters, to recognise a key by
  secret_hash   bytea NOT NULL UNIQUE,
  scopes        text[] NOT NULL CHECK (scopes <> '{}' AND scopes <@ ARRAY
                ['accounting:read', 'accounting:manage', 'events:write', 'operator']),
  created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by    text NOT NULL,
  expires_at    timestamptz,                    -- set by a rotation, which leaves time to change over
  revoked_at    timestamptz,
  last_used_at  timestamptz                     -- to the hour
);
CREATE INDEX api_key_tenant ON api_key (tenant_id, created_at);
SELECT protect('api_key', '', 'SELECT, INSERT, UPDATE');

-- Who calls: the one look across tenants that the API makes, before it knows the tenant.
CREATE FUNCTION api_key_find_v1(hash bytea)
RETURNS TABLE (key_id uuid, tenant_id text, name text, scopes text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog AS $$
BEGIN
  UPDATE api_key k SET last_used_at = clock_timestamp()
   WHERE k.secret_hash = hash AND coalesce(k.last_used_at < clock_timestamp() - interval '1 hour', true);
  RETURN QUERY
    SELECT k.key_id, k.tenant_id, k.name, k.scopes FROM api_key k
     WHERE k.secret_hash = hash AND k.revoked_at IS NULL
       AND coalesce(k.expires_at > clock_timestamp(), true);
END $$;
GRANT EXECUTE ON FUNCTION api_key_find_v1 TO algasync_api;

-- The outcome of a write, kept under the caller's Idempotency-Key and committed together with the effect.
CREATE TABLE api_outcome (
  tenant_id     text NOT NULL,
  key           text NOT NULL,
  request_hash  bytea NOT NULL,                 -- of method, address and body
  status        smallint,                       -- NULL only inside the transaction that works on it
  body          text,                           -- as it was sent, byte for byte
  created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, key)
);
CREATE INDEX api_outcome_age ON api_outcome (created_at);
SELECT protect('api_outcome', 'SELECT, INSERT, UPDATE', 'SELECT, DELETE');

-- Reconnecting a company, setting a mapping, retrying and resuming release work. Row-level security keeps all of it
-- within the caller's tenant.
GRANT DELETE ON wait TO algasync_api;
GRANT UPDATE ON operation TO algasync_api;
