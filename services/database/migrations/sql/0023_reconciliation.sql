-- Zero-drift statements: what both books were, item by item, and what people accepted. Kept seven years.

-- One statement. Notices look for finished ones with `unexplained` above 0; the newest of a company counts.
CREATE TABLE reconciliation (
  statement_id     uuid PRIMARY KEY,
  tenant_id        text NOT NULL,
  company_id       uuid NOT NULL REFERENCES company,
  state            text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'finished', 'failed')),
  begins           date,                          -- NULL: from the beginning
  ends             date NOT NULL,
  started_by       text NOT NULL,
  started_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  alive_at         timestamptz NOT NULL DEFAULT clock_timestamp(),  -- whoever makes it was last heard of
  finished_at      timestamptz,
  reason           text,                          -- why it failed
  estimated_reads  integer NOT NULL,
  reads            integer NOT NULL DEFAULT 0,
  progress         jsonb NOT NULL DEFAULT '{}',   -- rows read so far, by entity
  counts           jsonb,                         -- rows read, by entity: the estimate of the next one
  unexplained      integer,
  result           jsonb,                         -- totals and counts of all classes
  CHECK ((state = 'running') = (finished_at IS NULL)),
  CHECK ((state = 'finished') = (result IS NOT NULL)),
  CHECK ((state = 'finished') = (unexplained IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX reconciliation_listed ON reconciliation (tenant_id, started_at, statement_id);
CREATE INDEX reconciliation_company ON reconciliation (company_id, started_at);
CREATE INDEX reconciliation_age ON reconciliation (started_at);
SELECT protect('reconciliation', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE, DELETE');

-- Everything that is not the same in both books; what is, is counted in the result.
CREATE TABLE reconciliation_item (
  statement_id  uuid NOT NULL REFERENCES reconciliation ON DELETE CASCADE,
  position      integer NOT NULL,
  tenant_id     text NOT NULL,
  class         text NOT NULL,
  item_key      text NOT NULL,
  digest        text NOT NULL,                    -- of what differs
  item          jsonb NOT NULL,
  PRIMARY KEY (statement_id, position)
);
CREATE UNIQUE INDEX reconciliation_item_key ON reconciliation_item (statement_id, item_key);
SELECT protect('reconciliation_item', 'SELECT, INSERT', 'SELECT, INSERT, DELETE');

-- A person has said that an item may differ just like that. Any other difference of it is unexplained again.
CREATE TABLE reconciliation_acceptance (
  company_id  uuid NOT NULL REFERENCES company,
  item_key    text NOT NULL,
  digest      text NOT NULL,
  tenant_id   text NOT NULL,
  reason      text NOT NULL,
  actor       text NOT NULL,
  at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (company_id, item_key, digest)
);
SELECT protect('reconciliation_acceptance', 'SELECT, INSERT', 'SELECT, INSERT');
