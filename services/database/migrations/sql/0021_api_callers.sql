-- The API: tokens that the PSA signs, how often a key may call, and the order in which amounts are listed.

-- NULL: the installation's own limit.
ALTER TABLE api_key ADD COLUMN per_minute integer CHECK (per_minute > 0);

-- Public keys of tenants' PSAs. What one of them signs says who acts and what that person may do; nothing secret is
-- kept. A rotation adds a second key, and the first one ends later.
CREATE TABLE signing_key (
  signing_key_id  uuid PRIMARY KEY DEFAULT gen_random_uuid(),   -- `kid` in the header of every token
  tenant_id       text NOT NULL,
  name            text NOT NULL CHECK (name <> ''),
  issuer          text NOT NULL CHECK (issuer <> ''),           -- `iss` of every token
  algorithm       text NOT NULL CHECK (algorithm IN ('EdDSA', 'ES256', 'RS256')),
  public_key      text NOT NULL,                                -- PEM
  per_minute      integer CHECK (per_minute > 0),
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by      text NOT NULL,
  expires_at      timestamptz,                                  -- set by a rotation
  revoked_at      timestamptz,
  last_used_at    timestamptz                                   -- to the hour
);
CREATE INDEX signing_key_tenant ON signing_key (tenant_id, created_at);
SELECT protect('signing_key', '', 'SELECT, INSERT, UPDATE');

-- Tokens that were used: each is good for one request.
CREATE TABLE token_spent (
  tenant_id       text NOT NULL,
  signing_key_id  uuid NOT NULL REFERENCES signing_key,
  token_id        text NOT NULL,                                -- `jti`
  ends_at         timestamptz NOT NULL,
  PRIMARY KEY (signing_key_id, token_id)
);
CREATE INDEX token_spent_age ON token_spent (ends_at);
SELECT protect('token_spent', '', 'SELECT, DELETE');

-- When a caller's next request is due at an even pace (GCRA). Lost in a crash, which only forgives.
CREATE UNLOGGED TABLE api_pace (
  caller_id  uuid PRIMARY KEY,
  tenant_id  text NOT NULL,
  due_at     timestamptz NOT NULL
) WITH (fillfactor = 50);
SELECT protect('api_pace', '', 'SELECT');

-- Who calls: looked up before the tenant is known, as `api_key_find_v1`, which older processes still use.
CREATE FUNCTION api_key_find_v2(hash bytea)
RETURNS TABLE (key_id uuid, tenant_id text, name text, scopes text[], per_minute integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
BEGIN
  UPDATE api_key k SET last_used_at = clock_timestamp()
   WHERE k.secret_hash = hash AND coalesce(k.last_used_at < clock_timestamp() - interval '1 hour', true);
  RETURN QUERY
    SELECT k.key_id, k.tenant_id, k.name, k.scopes, k.per_minute FROM api_key k
     WHERE k.secret_hash = hash AND k.revoked_at IS NULL
       AND coalesce(k.expires_at > clock_timestamp(), true);
END $$;

CREATE FUNCTION signing_key_find_v1(kid uuid)
RETURNS TABLE (key_id uuid, tenant_id text, name text, issuer text, algorithm text, public_key text, per_minute integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
BEGIN
  UPDATE signing_key k SET last_used_at = clock_timestamp()
   WHERE k.signing_key_id = kid AND coalesce(k.last_used_at < clock_timestamp() - interval '1 hour', true);
  RETURN QUERY
    SELECT k.signing_key_id, k.tenant_id, k.name, k.issuer, k.algorithm, k.public_key, k.per_minute FROM signing_key k
     WHERE k.signing_key_id = kid AND k.revoked_at IS NULL
       AND coalesce(k.expires_at > clock_timestamp(), true);
END $$;

-- True for the first use of a token whose signature has been checked.
CREATE FUNCTION token_spend_v1(kid uuid, token text, until timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO token_spent (tenant_id, signing_key_id, token_id, ends_at)
    SELECT k.tenant_id, kid, token, until FROM signing_key k WHERE k.signing_key_id = kid
    ON CONFLICT DO NOTHING;
  RETURN FOUND;
END $$;

-- One more request of a caller: how many are left of its minute, and how many seconds to wait when there is none.
CREATE FUNCTION api_pace_v1(caller uuid, tenant text, per_minute integer)
RETURNS TABLE (remaining integer, wait double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
DECLARE
  step  interval := interval '1 minute' / per_minute;
  moment timestamptz;
  due   timestamptz;
BEGIN
  INSERT INTO api_pace VALUES (caller, tenant, '-infinity') ON CONFLICT DO NOTHING;
  SELECT p.due_at INTO due FROM api_pace p WHERE p.caller_id = caller FOR UPDATE;
  moment := clock_timestamp();
  due := greatest(due, moment) + step;
  IF due > moment + interval '1 minute' THEN
    RETURN QUERY SELECT 0, extract(epoch FROM due - moment - interval '1 minute')::double precision;
  ELSE
    UPDATE api_pace SET due_at = due WHERE caller_id = caller;
    RETURN QUERY SELECT floor(extract(epoch FROM moment + interval '1 minute' - due) * per_minute / 60)::integer,
                        0::double precision;
  END IF;
END $$;
GRANT EXECUTE ON FUNCTION api_key_find_v2, signing_key_find_v1, token_spend_v1, api_pace_v1 TO algasync_api;

-- A repeat moves last_seen_at, and should not have to touch an index for it; amounts are listed without their sign.
DROP INDEX exception_seen;
DROP INDEX exception_amount;
CREATE INDEX exception_amount ON exception (tenant_id, (coalesce(abs(amount), -1)), exception_id);
