-- Connections: Intuit app credentials, OAuth states, connected companies, tokens, limiter, read meter.

CREATE TABLE app_credential (
  tenant_id      text PRIMARY KEY,
  client_id      bytea NOT NULL,                -- encrypted
  client_secret  bytea NOT NULL,                -- encrypted
  updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_by     text NOT NULL
);
SELECT protect('app_credential', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

CREATE TABLE oauth_state (
  state_hash    bytea PRIMARY KEY,              -- of the value in the URL
  tenant_id     text NOT NULL,
  browser_hash  bytea NOT NULL,                 -- of the cookie of the browser that started
  return_to     text NOT NULL,
  expected_realm_id text,                       -- reconnect expects the same company
  actor         text NOT NULL,
  expires_at    timestamptz NOT NULL,
  used_at       timestamptz
);
SELECT protect('oauth_state', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

CREATE TABLE company (
  company_id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id        text NOT NULL,
  environment      text NOT NULL CHECK (environment IN ('sandbox', 'production')),
  realm_id         text NOT NULL CHECK (realm_id <> ''),
  name             text NOT NULL DEFAULT '',
  country          text NOT NULL DEFAULT '',
  home_currency    text NOT NULL DEFAULT '',
  state            text NOT NULL CHECK (state IN ('active', 'expired', 'disconnected')),
  is_default       boolean NOT NULL DEFAULT false,
  preferences      jsonb NOT NULL DEFAULT '{}',
  company_info     jsonb NOT NULL DEFAULT '{}',
  facts_read_at    timestamptz,                 -- when preferences and company info were last read
  attention_reason text,
  connected_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  connected_by     text NOT NULL,
  disconnected_at  timestamptz,
  UNIQUE (tenant_id, environment, realm_id),
  CHECK (NOT (is_default AND state = 'disconnected'))
);
CREATE UNIQUE INDEX company_one_tenant ON company (environment, realm_id) WHERE state <> 'disconnected';
CREATE UNIQUE INDEX company_one_default ON company (tenant_id) WHERE is_default;
SELECT protect('company', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

CREATE TABLE company_token (
  company_id          uuid PRIMARY KEY REFERENCES company,
  tenant_id           text NOT NULL,
  access_token        bytea NOT NULL,           -- encrypted
  refresh_token       bytea NOT NULL,           -- encrypted
  access_expires_at   timestamptz NOT NULL,
  refresh_expires_at  timestamptz NOT NULL,
  hard_expires_at     timestamptz,
  version             bigint NOT NULL DEFAULT 1,
  refreshing_since    timestamptz,              -- a refresh was sent and its answer is not stored yet
  refreshed_at        timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
SELECT protect('company_token', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

-- One row a company: theoretical arrival times of a GCRA limiter, and the pause that a 429 asks for.
CREATE TABLE company_limiter (
  company_id     uuid PRIMARY KEY REFERENCES company,
  tenant_id      text NOT NULL,
  next_second    timestamptz NOT NULL DEFAULT '-infinity',
  next_minute    timestamptz NOT NULL DEFAULT '-infinity',
  next_batch     timestamptz NOT NULL DEFAULT '-infinity',
  paused_until   timestamptz NOT NULL DEFAULT '-infinity',
  paused_reason  text
) WITH (fillfactor = 50);
SELECT protect('company_limiter', 'SELECT', 'SELECT, INSERT, UPDATE');

CREATE TABLE metered_read (
  company_id  uuid NOT NULL REFERENCES company,
  tenant_id   text NOT NULL,
  month       date NOT NULL,
  operation   text NOT NULL,
  reads       bigint NOT NULL,
  PRIMARY KEY (company_id, month, operation)
) WITH (fillfactor = 50);
SELECT protect('metered_read', 'SELECT', 'SELECT, INSERT, UPDATE');
