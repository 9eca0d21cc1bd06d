-- What leaves us unasked: signed webhooks, payments recorded in AlgaPSA, notices by mail.

-- Where it goes. A destination's deliveries are sent one after the other, by whoever holds its lease.
CREATE TABLE subscription (
  subscription_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id         text NOT NULL,
  kind              text NOT NULL CHECK (kind IN ('webhook', 'algapsa', 'mail')),
  name              text NOT NULL,
  url               text NOT NULL DEFAULT '',       -- endpoint, or where AlgaPSA is
  event_types       text[] NOT NULL,                -- routing keys of accounting events, notice.v1; '*': all accounting events
  secret            bytea,                          -- encrypted: what signs, or AlgaPSA's API key
  state             text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled', 'deleted')),
  state_reason      text,
  per_minute        integer NOT NULL CHECK (per_minute BETWEEN 1 AND 6000),
  failures          integer NOT NULL DEFAULT 0,     -- in a row
  failing_since     timestamptz,
  last_success_at   timestamptz,
  rest_until        timestamptz NOT NULL DEFAULT '-infinity',
  dispatched_until  timestamptz NOT NULL DEFAULT '-infinity',  -- a command is on its way; sent again after
  lease_token       uuid,
  lease_until       timestamptz NOT NULL DEFAULT '-infinity',
  created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by        text NOT NULL,
  updated_at        timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX subscription_only_one ON subscription (tenant_id, kind)
  WHERE kind IN ('algapsa', 'mail') AND state <> 'deleted';
CREATE INDEX subscription_tenant ON subscription (tenant_id, created_at, subscription_id);
SELECT protect('subscription', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE, DELETE');

-- One row for each (destination, event): however often it is sent, and sent again, it keeps its id.
CREATE TABLE delivery (
  delivery_id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  subscription_id   uuid NOT NULL REFERENCES subscription,
  tenant_id         text NOT NULL,
  event_id          uuid NOT NULL,
  type              text NOT NULL,                  -- routing key
  subject           text NOT NULL,                  -- deliveries about one subject go in the order of `position`
  position          bigint NOT NULL,                -- in the feed; 0 for what is not in it
  recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp(),  -- of the feed's row: leads to its partition
  recipient         text NOT NULL DEFAULT '',       -- of a mail
  body              text,                           -- NULL: stands in the feed
  state             text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
  attempts          integer NOT NULL DEFAULT 0,     -- since it was last made pending
  replays           integer NOT NULL DEFAULT 0,
  due_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
  first_attempt_at  timestamptz,                    -- since it was last made pending
  status            integer,                        -- of the last answer
  error             text,                           -- why the last attempt failed
  created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  closed_at         timestamptz,
  UNIQUE (subscription_id, event_id, recipient),
  CHECK ((state = 'pending') = (closed_at IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX delivery_due ON delivery (subscription_id, due_at, position) WHERE state = 'pending';
CREATE INDEX delivery_order ON delivery (subscription_id, subject, position);
CREATE INDEX delivery_test ON delivery (subscription_id) WHERE state = 'pending' AND type = 'webhook.test.v1';
CREATE INDEX delivery_listed ON delivery (subscription_id, created_at, delivery_id);
CREATE INDEX delivery_age ON delivery (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX delivery_event ON delivery (event_id);
SELECT protect('delivery', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE, DELETE');

-- The log: one row an attempt.
CREATE TABLE delivery_attempt (
  attempt_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  delivery_id   uuid NOT NULL REFERENCES delivery ON DELETE CASCADE,
  tenant_id     text NOT NULL,
  at            timestamptz NOT NULL DEFAULT clock_timestamp(),
  outcome       text NOT NULL CHECK (outcome IN ('delivered', 'again', 'failed')),
  status        integer,                            -- NULL: no answer
  milliseconds  integer NOT NULL,
  error         text,
  reply         text NOT NULL DEFAULT ''            -- its beginning
);
CREATE INDEX delivery_attempt_of ON delivery_attempt (delivery_id, attempt_id);
CREATE INDEX delivery_attempt_age ON delivery_attempt (at);
SELECT protect('delivery_attempt', 'SELECT', 'SELECT, INSERT, DELETE');

-- What a person is told about, once for each key.
CREATE TABLE notice (
  notice_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id   text NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('connection', 'token', 'digest', 'backlog', 'reconciliation', 'deliveries')),
  key         text NOT NULL,
  title       text NOT NULL,
  message     text NOT NULL,
  details     jsonb NOT NULL DEFAULT '{}',
  company_id  uuid,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (tenant_id, key)
);
CREATE INDEX notice_listed ON notice (tenant_id, created_at, notice_id);
SELECT protect('notice', 'SELECT', 'SELECT, INSERT, DELETE');

-- Which exceptions a notice has told of: what is here is no news any more.
CREATE TABLE notice_exception (
  exception_id  uuid PRIMARY KEY REFERENCES exception,
  tenant_id     text NOT NULL,
  notice_id     uuid NOT NULL REFERENCES notice ON DELETE CASCADE
);
CREATE INDEX notice_exception_of ON notice_exception (notice_id);
SELECT protect('notice_exception', 'SELECT', 'SELECT, INSERT, DELETE');

-- As before, and in the same transaction what each destination is owed: neither can be without the other.
CREATE OR REPLACE FUNCTION accounting_event_append(published uuid[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
DECLARE
  moved integer;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('algasync.accounting_event'));
  WITH gone AS (
    DELETE FROM outbox_event o WHERE o.event_id = ANY (published) AND o.exchange = 'accounting' RETURNING o.*
  ), stored AS (
    INSERT INTO accounting_event (position, tenant_id, event_id, type, subject, sequence, body)
    SELECT nextval('accounting_event_position'), g.tenant_id, g.event_id, g.type, g.subject, g.sequence, g.body
      FROM (SELECT * FROM gone ORDER BY xid, id) AS g
    RETURNING position, tenant_id, event_id, type, subject, recorded_at
  ), owed AS (
    INSERT INTO delivery (subscription_id, tenant_id, event_id, type, subject, position, recorded_at)
    SELECT s.subscription_id, e.tenant_id, e.event_id, e.type, e.subject, e.position, e.recorded_at
      FROM stored e
      JOIN subscription s ON s.tenant_id = e.tenant_id AND s.state <> 'deleted' AND s.event_types && ARRAY['*', e.type]
    ON CONFLICT DO NOTHING
  )
  SELECT count(*) INTO moved FROM stored;
  RETURN moved;
END $$;
