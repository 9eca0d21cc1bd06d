-- What needs a person, and the dead letters that led there.

CREATE TABLE exception (
  exception_id   uuid PRIMARY KEY,
  tenant_id      text NOT NULL,
  type           text NOT NULL,
  entity_kind    text NOT NULL,                 -- a document kind, or connection, client, event, message
  entity_id      text NOT NULL,
  company_id     uuid,
  state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'in_progress', 'resolved', 'ignored')),
  cause          text NOT NULL,                 -- root cause key: one fix for all that share it
  code           text NOT NULL,
  title          text NOT NULL,
  happened       text NOT NULL,
  why            text NOT NULL,
  fix            text NOT NULL,
  details        jsonb NOT NULL DEFAULT '{}',
  client_id      text,
  direction      text NOT NULL DEFAULT 'outbound' CHECK (direction IN ('outbound', 'inbound', 'connection', 'fleet')),
  amount         bigint,                        -- minor units
  currency       text,
  operation_id   uuid,                          -- the operation that rests until this is settled
  occurrences    integer NOT NULL DEFAULT 1 CHECK (occurrences > 0),
  assignee       text,
  resolution     text,                          -- why it was closed, or why it is ignored
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seen_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  closed_at      timestamptz,
  CHECK ((state IN ('resolved', 'ignored')) = (closed_at IS NOT NULL))
);
-- One open exception per type and entity: a repeat is counted, never a second row.
CREATE UNIQUE INDEX exception_one_open ON exception (tenant_id, type, entity_kind, entity_id)
  WHERE state IN ('open', 'in_progress');
CREATE INDEX exception_listed ON exception (tenant_id, state, created_at, exception_id);
CREATE INDEX exception_cause ON exception (tenant_id, cause) WHERE state IN ('open', 'in_progress');
CREATE INDEX exception_entity ON exception (tenant_id, entity_kind, entity_id);
CREATE INDEX exception_operation ON exception (operation_id);
SELECT protect('exception', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

-- Dead letters never expire. tenant_id is NULL when the letter does not say whose it is: only the fleet sees those.
--
--   open       needs somebody         replayed  sent again, not known yet how that ended
--   discarded  given up, with a reason  resolved  what it asked for is done, or no longer wanted
CREATE TABLE letter (
  letter_id      uuid PRIMARY KEY,
  tenant_id      text,
  subject        text NOT NULL,                 -- operation or event id, else 'body:<sha256>'
  attempt        integer NOT NULL DEFAULT 1,    -- of the operation; of an event always 1
  queue          text NOT NULL,                 -- where it died
  type           text,                          -- kind of the operation, or type of the event
  reason         text NOT NULL,                 -- rejected, delivery_limit, expired, maxlen, unroutable, rebuilt
  code           text NOT NULL,                 -- what our own check said, e.g. bad_json, missing_item_mapping
  message        text NOT NULL,
  body           bytea NOT NULL,
  headers        jsonb NOT NULL DEFAULT '{}',
  state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded', 'resolved')),
  occurrences    integer NOT NULL DEFAULT 1,
  replays        integer NOT NULL DEFAULT 0,
  operation_id   uuid,
  event_id       uuid,
  exception_id   uuid REFERENCES exception,
  company_id     uuid,
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seen_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  closed_at      timestamptz,
  closed_by      text,
  close_reason   text,
  CHECK ((state = 'open') = (closed_at IS NULL)),
  UNIQUE (subject, attempt)
);
CREATE INDEX letter_listed ON letter (state, created_at, letter_id);
CREATE INDEX letter_of_tenant ON letter (tenant_id, state, created_at, letter_id);
CREATE INDEX letter_exception ON letter (exception_id);
CREATE INDEX letter_operation ON letter (operation_id);
CREATE INDEX letter_event ON letter (event_id);
CREATE INDEX letter_unsettled ON letter (letter_id) WHERE state IN ('open', 'replayed');
SELECT protect('letter', 'SELECT, UPDATE', 'SELECT, INSERT, UPDATE');

-- Which billing events have a recorded outcome: the outbox forgets them (the baton rule). A replayed letter is
-- no outcome: its event is under way again, and the outbox answers for it until it is taken over or dies anew.
CREATE VIEW event_outcome AS
  SELECT event_id FROM event
  UNION ALL
  SELECT event_id FROM letter WHERE event_id IS NOT NULL AND state <> 'replayed';
GRANT SELECT ON event_outcome TO algasync_fleet;

-- Put the event of a dead letter back into the outbox, as it was emitted: same id, same sequence, same bytes. The
-- caller marks the letter as replayed in the same transaction. A row that still lies there is replaced and not
-- updated, because a sweep that has seen the letter open may be waiting to delete it.
CREATE FUNCTION letter_emit_again(which uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
DECLARE
  scope text := current_setting('algasync.tenant', true);
  dead  letter;
  event jsonb;
  rule  event_type;
BEGIN
  SELECT * INTO dead FROM letter l
   WHERE l.letter_id = which AND l.event_id IS NOT NULL AND l.tenant_id IS NOT NULL
     AND (l.tenant_id = scope OR (scope = '*' AND session_user_may_cross()));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'letter % holds no event of this tenant', which USING ERRCODE = 'no_data_found';
  END IF;
  event := convert_from(dead.body, 'UTF8')::jsonb;
  SELECT * INTO STRICT rule FROM event_type t
   WHERE t.exchange = 'billing' AND 'com.algapsa.billing.' || t.type = event ->> 'type';
  DELETE FROM outbox_event o WHERE o.event_id = dead.event_id;
  INSERT INTO outbox_event (event_id, tenant_id, exchange, type, document_kind, subject, sequence, body, traceparent)
    VALUES (dead.event_id, dead.tenant_id, 'billing', rule.type, rule.document_kind, event ->> 'subject',
            (event ->> 'sequence')::bigint, convert_from(dead.body, 'UTF8'), event ->> 'traceparent');
END $$;
GRANT EXECUTE ON FUNCTION letter_emit_again TO algasync_api, algasync_fleet;
