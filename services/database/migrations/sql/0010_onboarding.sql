-- The reconciliation wizard: what the PSA handed over, what QuickBooks has, and what a run did.

-- Clients and billing profiles as the PSA lists them. A document's event names its client, but a client that was
-- billed years ago has no event here.
CREATE TABLE onboarding_client (
  tenant_id   text NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('client', 'billing_profile')),
  client_id   text NOT NULL CHECK (client_id <> ''),
  name        text NOT NULL,
  currency    text NOT NULL DEFAULT '',         -- '': the company's home currency
  parent_id   text NOT NULL DEFAULT '',         -- the client of a billing profile
  email       text NOT NULL DEFAULT '',
  updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, kind, client_id, currency),
  CHECK ((kind = 'billing_profile') = (parent_id <> ''))
);
SELECT protect('onboarding_client', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

-- Invoices and credit notes as the PSA lists them, of any age and state.
CREATE TABLE onboarding_document (
  tenant_id      text NOT NULL,
  kind           text NOT NULL CHECK (kind IN ('invoice', 'credit_note')),
  document_id    text NOT NULL CHECK (document_id <> ''),
  number         text NOT NULL,
  document_date  date NOT NULL,
  total          bigint NOT NULL,               -- minor units; credit notes are negative
  currency       text NOT NULL,
  client_id      text NOT NULL,
  state          text NOT NULL,                 -- as the PSA calls it: sent, paid, overdue, cancelled ...
  updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, kind, document_id)
);
SELECT protect('onboarding_document', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

CREATE TABLE onboarding_run (
  run_id       uuid PRIMARY KEY,
  tenant_id    text NOT NULL,
  company_id   uuid NOT NULL REFERENCES company,
  state        text NOT NULL CHECK (state IN ('open', 'finished', 'undone')),
  started_by   text NOT NULL,
  started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at     timestamptz,
  CHECK ((state = 'open') = (ended_at IS NULL))
);
CREATE UNIQUE INDEX onboarding_one_run ON onboarding_run (company_id) WHERE state = 'open';
CREATE INDEX onboarding_listed ON onboarding_run (tenant_id, company_id, started_at);
SELECT protect('onboarding_run', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

-- How far the reading of the company has come: what was read survives a crash.
CREATE TABLE onboarding_reading (
  run_id     uuid NOT NULL REFERENCES onboarding_run,
  tenant_id  text NOT NULL,
  entity     text NOT NULL,
  expected   integer NOT NULL,                  -- rows when the reading began
  taken      integer NOT NULL DEFAULT 0,
  pages      integer NOT NULL DEFAULT 0,
  full_pages integer NOT NULL DEFAULT 0,
  done       boolean NOT NULL DEFAULT false,
  PRIMARY KEY (run_id, entity)
);
SELECT protect('onboarding_reading', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

-- What was read, kept while the run is open. `data` is what links keep as their snapshot.
CREATE TABLE onboarding_object (
  run_id       uuid NOT NULL REFERENCES onboarding_run,
  tenant_id    text NOT NULL,
  entity       text NOT NULL,
  external_id  text NOT NULL,
  data         jsonb NOT NULL,
  PRIMARY KEY (run_id, entity, external_id)
);
SELECT protect('onboarding_object', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

-- What a run did, in order: its undo goes through it backwards. A creation in QuickBooks is written down before
-- it is made (state 'intended'), with the call, so that a crash never makes a customer twice.
CREATE TABLE onboarding_action (
  action_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id       uuid NOT NULL REFERENCES onboarding_run,
  tenant_id    text NOT NULL,
  action       text NOT NULL CHECK (action IN ('mapped', 'linked', 'created', 'handled', 'set')),
  kind         text NOT NULL,                   -- of what: client, billing_profile, invoice, credit_note, setting
  key          text NOT NULL,
  variant      text NOT NULL DEFAULT '',
  external_id  text NOT NULL DEFAULT '',
  facts        jsonb NOT NULL DEFAULT '{}',     -- what undo needs, e.g. the value before
  state        text NOT NULL DEFAULT 'done' CHECK (state IN ('intended', 'done', 'undone', 'kept')),
  actor        text NOT NULL,
  at           timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX onboarding_action_run ON onboarding_action (run_id, action_id);
SELECT protect('onboarding_action', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');
