-- Connections: Intuit app credentials, connect attempts, connected companies, tokens, limiter, read meter.

CREATE TABLE app_credential (
  tenant_id      text PRIMARY KEY,
  client_id      bytea NOT NULL,                -- encrypted
  client_secret  bytea NOT NULL,                -- encrypted
  updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_by     text NOT NULL
);
SELECT protect('app_credential', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

CREATE TABLE company (
  company_id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id        text NOT NULL,
  environment      text NOT NULL CHECK (environment IN ('sandbox', 'production')),
  realm_id         text NOT NULL CHECK (realm_id <> ''),
  name             text NOT NULL DEFAULT '',
  country          text NOT NULL DEFAULT '',
  home_currency    text NOT NULL DEFAULT '',
  state            text NOT NULL CHECK (state IN ('active', 'expired', 'disconnected')),
  is_default       boolean NOT NULL DEFAULT false,  -- kept through a disconnect: nothing falls to another company
  preferences      jsonb NOT NULL DEFAULT '{}',
  company_info     jsonb NOT NULL DEFAULT '{}',
  facts_read_at    timestamptz,                 -- when preferences and company info were last read
  attention_reason text,                        -- why it is expired, in a sentence
  attention_since  timestamptz,
  connected_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  connected_by     text NOT NULL,
  disconnected_at  timestamptz,
  UNIQUE (tenant_id, environment, realm_id),
  CHECK ((state = 'disconnected') = (disconnected_at IS NOT NULL)),
  CHECK ((state = 'expired') = (attention_reason IS NOT NULL)),
  CHECK ((state = 'expired') = (attention_since IS NOT NULL))
);
CREATE UNIQUE INDEX company_one_tenant ON company (environment, realm_id) WHERE state <> 'disconnected';
CREATE UNIQUE INDEX company_one_default ON company (tenant_id) WHERE is_default;
CREATE INDEX company_facts ON company (facts_read_at NULLS FIRST) WHERE state = 'active';
SELECT protect('company', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

-- A way to Intuit and back. The key is first the hash of the ticket in the link that the PSA's button opens, and
-- from the moment a browser follows it the hash of the OAuth state.
CREATE TABLE connect_attempt (
  secret_hash   bytea PRIMARY KEY,
  tenant_id     text NOT NULL,
  browser_hash  bytea,                          -- of the cookie of the browser that followed the link
  return_to     text NOT NULL,
  company_id    uuid REFERENCES company,        -- a reconnect expects the same company
  actor         text NOT NULL,
  expires_at    timestamptz NOT NULL,
  used_at       timestamptz
);
CREATE INDEX connect_attempt_expiry ON connect_attempt (expires_at);
SELECT protect('connect_attempt', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

-- Versions come from one sequence, so a token stored later has the higher one, also after a disconnect.
CREATE SEQUENCE company_token_version;
GRANT USAGE ON SEQUENCE company_token_version TO algasync_api, algasync_fleet;

CREATE TABLE company_token (
  company_id          uuid PRIMARY KEY REFERENCES company,
  tenant_id           text NOT NULL,
  access_token        bytea NOT NULL,           -- encrypted
  refresh_token       bytea NOT NULL,           -- encrypted
  access_expires_at   timestamptz NOT NULL,
  refresh_expires_at  timestamptz NOT NULL,     -- moves on with every refresh
  hard_expires_at     timestamptz,              -- does not move: Intuit's limit of five years
  version             bigint NOT NULL DEFAULT nextval('company_token_version'),
  refreshing_since    timestamptz,              -- a refresh was sent and its answer is not stored yet
  refreshed_at        timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
CREATE INDEX company_token_due ON company_token (access_expires_at);
SELECT protect('company_token', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

-- One row a company: the moment from which the next call, or batch, may start; and the rest a 429 asks for.
CREATE TABLE company_limiter (
  company_id     uuid PRIMARY KEY REFERENCES company,
  tenant_id      text NOT NULL,
  next_call      timestamptz NOT NULL DEFAULT '-infinity',
  next_batch     timestamptz NOT NULL DEFAULT '-infinity',
  paused_until   timestamptz NOT NULL DEFAULT '-infinity',
  paused_reason  text
) WITH (fillfactor = 50);
SELECT protect('company_limiter', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

-- Take the company's next slot and return the seconds until it comes. A slot more than `horizon` away is not
-- taken, only told. Intervals are in seconds; `moment` replaces the clock in tests.
--
-- This is GCRA without burst: slots are at least `call_interval` apart, so any window of n intervals holds at
-- most n calls, whoever makes them and wherever the window begins.
CREATE FUNCTION limiter_reserve_v1(
  company uuid, is_batch boolean, call_interval float8, batch_interval float8, horizon float8,
  moment timestamptz DEFAULT NULL
) RETURNS float8 LANGUAGE plpgsql SET search_path = algasync, pg_catalog AS $$
DECLARE
  held  company_limiter;
  now_  timestamptz;
  slot  timestamptz;
BEGIN
  SELECT * INTO held FROM company_limiter WHERE company_id = company FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'company % has no limiter: it was never connected', company USING ERRCODE = 'no_data_found';
  END IF;
  now_ := coalesce(moment, clock_timestamp());  -- after the lock: what counts is when the slot is taken
  slot := greatest(now_, held.next_call, held.paused_until);
  IF is_batch THEN
    slot := greatest(slot, held.next_batch);
  END IF;
  IF slot <= now_ + make_interval(secs => horizon) THEN
    UPDATE company_limiter
       SET next_call = slot + make_interval(secs => call_interval),
           next_batch = CASE WHEN is_batch THEN slot + make_interval(secs => batch_interval) ELSE next_batch END
     WHERE company_id = company;
  END IF;
  RETURN extract(epoch FROM slot - now_);
END $$;
GRANT EXECUTE ON FUNCTION limiter_reserve_v1 TO algasync_api, algasync_fleet;

-- Reads that Intuit meters, by calendar month in UTC.
CREATE TABLE metered_read (
  company_id  uuid NOT NULL REFERENCES company,
  tenant_id   text NOT NULL,
  month       date NOT NULL,
  operation   text NOT NULL,
  reads       bigint NOT NULL,
  PRIMARY KEY (company_id, month, operation)
) WITH (fillfactor = 50);
SELECT protect('metered_read', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');
