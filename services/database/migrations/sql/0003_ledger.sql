-- The ledger: events taken over, documents, operations (what we owe), waits, links, timeline.

-- A billing event taken over from the outbox: once recorded here, the outbox may forget it.
CREATE TABLE event (
  event_id       uuid PRIMARY KEY,
  tenant_id      text NOT NULL,
  type           text NOT NULL,                 -- routing key, e.g. invoice.finalized.v1
  document_kind  text NOT NULL,
  document_id    text NOT NULL,
  sequence       bigint NOT NULL CHECK (sequence > 0),
  data           jsonb NOT NULL,
  occurred_at    timestamptz NOT NULL,
  traceparent    text,
  state          text NOT NULL CHECK (state IN ('waiting', 'applied')),  -- waiting: an earlier sequence is missing
  received_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (tenant_id, document_kind, document_id, sequence)
);
CREATE INDEX event_waiting ON event (received_at) WHERE state = 'waiting';
SELECT protect('event', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE');

-- What the PSA billed. A placeholder (applied_sequence 0) exists so that waiting and providing can lock it.
CREATE TABLE document (
  tenant_id         text NOT NULL,
  kind              text NOT NULL,
  document_id       text NOT NULL,
  number            text,
  client_id         text,
  client_name       text,
  currency          text,
  total             bigint,                     -- minor units
  document_date     date,
  state             text NOT NULL DEFAULT 'placeholder'
                    CHECK (state IN ('placeholder', 'draft', 'finalized', 'voided', 'written_off')),
  applied_sequence  bigint NOT NULL DEFAULT 0,
  data              jsonb,                      -- the event data that last described it whole
  created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, kind, document_id)
) WITH (fillfactor = 80);
CREATE INDEX document_client ON document (tenant_id, client_id, document_date);
CREATE INDEX document_number ON document (tenant_id, kind, number);
SELECT protect('document', 'SELECT', 'SELECT, INSERT, UPDATE');

-- What we owe. The row is its own outbox: the dispatcher sends a command for it until a worker takes it.
CREATE TABLE operation (
  operation_id   uuid PRIMARY KEY,
  tenant_id      text NOT NULL,
  company_id     uuid,                          -- fixed when known; NULL only while waiting for a company
  kind           text NOT NULL,
  queue          text NOT NULL,
  lane           smallint NOT NULL DEFAULT 1 CHECK (lane IN (0, 1, 2)),  -- urgent, normal, backfill
  document_kind  text NOT NULL,
  document_id    text NOT NULL,
  revision       bigint NOT NULL,               -- sequence of the event that asked for it
  repair         integer NOT NULL DEFAULT 0,    -- number of the re-export of that revision
  event_id       uuid,                          -- what caused it
  payload        jsonb NOT NULL DEFAULT '{}',
  state          text NOT NULL CHECK (state IN
                 ('queued', 'running', 'waiting', 'scheduled', 'succeeded', 'skipped', 'failed', 'discarded')),
  attempt        integer NOT NULL DEFAULT 1,    -- a replay is a new attempt
  tries          integer NOT NULL DEFAULT 0,    -- calls made in this attempt
  due_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  dispatched_at  timestamptz,                   -- sent to the broker, not taken yet
  lease_token    uuid,
  lease_until    timestamptz,
  outcome        text NOT NULL DEFAULT 'none'   -- of the stored call
                 CHECK (outcome IN ('none', 'intended', 'unknown', 'unsent', 'refused', 'answered')),
  generation     integer NOT NULL DEFAULT 0,
  requestid      text,
  call           jsonb,                         -- the exact call, body as text, written down before it is made
  called_at      timestamptz,                   -- first time this call may have reached QuickBooks
  reply_digest   text,
  intuit_tid     text,
  reason_code    text,                          -- why waiting, skipped, failed or scheduled
  reason         text,
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at    timestamptz,
  CHECK ((state = 'running') = (lease_token IS NOT NULL)),
  CHECK ((state IN ('succeeded', 'skipped', 'discarded')) = (finished_at IS NOT NULL)),
  CHECK (company_id IS NOT NULL OR state IN ('waiting', 'skipped', 'failed', 'discarded'))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX operation_idempotency ON operation
  (tenant_id, kind, document_kind, document_id, revision, repair, coalesce(company_id, '00000000-0000-0000-0000-000000000000'));
CREATE INDEX operation_due ON operation (company_id, lane, due_at) WHERE state IN ('queued', 'scheduled');
CREATE INDEX operation_unfinished ON operation (tenant_id, document_kind, document_id, revision)
  WHERE state IN ('queued', 'running', 'waiting', 'scheduled', 'failed');
CREATE INDEX operation_in_flight ON operation (company_id) WHERE state = 'running' OR dispatched_at IS NOT NULL;
CREATE INDEX operation_lease ON operation (lease_until) WHERE state = 'running';
CREATE INDEX operation_listed ON operation (tenant_id, state, created_at, operation_id);
CREATE INDEX operation_document ON operation (tenant_id, document_kind, document_id);
SELECT protect('operation', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE');

-- Named conditions that hold an operation back without spending an attempt.
--   step     another operation of the document, by id          link     a document that must be in QuickBooks first
--   company  a company must be connected ('default' or an id)  pause    a stop switch ('fleet', 'tenant', company id)
CREATE TABLE wait (
  operation_id  uuid NOT NULL REFERENCES operation ON DELETE CASCADE,
  tenant_id     text NOT NULL,
  condition     text NOT NULL CHECK (condition IN ('step', 'link', 'company', 'auto_sync', 'pause')),
  key           text NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (operation_id, condition, key)
);
CREATE INDEX wait_condition ON wait (tenant_id, condition, key);
SELECT protect('wait', 'SELECT', 'SELECT, INSERT, DELETE');

-- What is where in QuickBooks, per company.
CREATE TABLE link (
  link_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id      text NOT NULL,
  company_id     uuid NOT NULL,
  kind           text NOT NULL,                 -- document kind on our side
  document_id    text NOT NULL,
  external_type  text NOT NULL,                 -- Invoice, CreditMemo, Payment
  external_id    text NOT NULL,
  sync_token     text NOT NULL,
  number         text,                          -- DocNumber
  total          numeric,                       -- as QuickBooks said, in the document's currency
  currency       text,
  state          text NOT NULL DEFAULT 'synced'
                 CHECK (state IN ('synced', 'drift', 'voided', 'external_voided', 'deleted', 'reversed')),
  snapshot       jsonb NOT NULL,                -- the entity as QuickBooks last returned it to us
  linked_via     text NOT NULL DEFAULT 'export',
  operation_id   uuid,
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX link_ours ON link (company_id, kind, document_id);
CREATE UNIQUE INDEX link_theirs ON link (company_id, external_type, external_id) WHERE kind <> 'credit_application';
CREATE INDEX link_document ON link (tenant_id, kind, document_id);
SELECT protect('link', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE');

-- Stop switches. tenant_id is NULL for the whole fleet.
CREATE TABLE pause (
  pause_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  scope       text NOT NULL CHECK (scope IN ('fleet', 'tenant', 'company')),
  tenant_id   text,
  company_id  uuid,
  reason      text NOT NULL,
  actor       text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK ((scope = 'fleet') = (tenant_id IS NULL)),
  CHECK ((scope = 'company') = (company_id IS NOT NULL))
);
CREATE UNIQUE INDEX pause_scope ON pause
  (scope, coalesce(tenant_id, ''), coalesce(company_id, '00000000-0000-0000-0000-000000000000'));
SELECT protect('pause', 'SELECT, INSERT, DELETE', 'SELECT, INSERT, DELETE');
-- A stopped fleet stops every tenant, so every tenant may see that it is stopped.
CREATE POLICY fleet_pause_seen ON pause FOR SELECT TO algasync_api, algasync_fleet USING (scope = 'fleet');

-- Who did what: append-only, each entry chained by hash to the one before it of the same subject.
CREATE TABLE timeline_head (
  tenant_id     text NOT NULL,
  subject_kind  text NOT NULL,
  subject_id    text NOT NULL,
  position      bigint NOT NULL,
  hash          bytea NOT NULL,
  PRIMARY KEY (tenant_id, subject_kind, subject_id)
) WITH (fillfactor = 70);
SELECT protect('timeline_head', 'SELECT', 'SELECT');

CREATE TABLE timeline (
  tenant_id     text NOT NULL,
  subject_kind  text NOT NULL,
  subject_id    text NOT NULL,
  position      bigint NOT NULL,
  at            timestamptz NOT NULL,
  actor         text NOT NULL,
  action        text NOT NULL,
  details       jsonb NOT NULL,
  previous      bytea NOT NULL,
  hash          bytea NOT NULL,
  PRIMARY KEY (tenant_id, subject_kind, subject_id, position)
);
SELECT protect('timeline', 'SELECT', 'SELECT');

CREATE FUNCTION timeline_hash(
  previous bytea, tenant text, kind text, id text, pos bigint, moment timestamptz, who text, what text, facts jsonb
) RETURNS bytea LANGUAGE sql STABLE AS $$
  -- jsonb prints one way only and the fields are a JSON array, so no two entries share a text
  SELECT sha256(previous || convert_to(jsonb_build_array(
    tenant, kind, id, pos, to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), who, what, facts)::text, 'UTF8'))
$$;

-- The only way to write the timeline. The head row serialises writers of one subject.
CREATE FUNCTION timeline_append(tenant text, kind text, id text, who text, what text, facts jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog AS $$
DECLARE
  scope text := current_setting('algasync.tenant', true);
  last  timeline_head;
  moment timestamptz := clock_timestamp();
  link  bytea;
BEGIN
  IF scope IS NULL OR (scope <> tenant AND NOT (scope = '*' AND session_user_may_cross())) THEN
    RAISE EXCEPTION 'timeline of tenant % written from the scope of %', tenant, coalesce(scope, 'no tenant')
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO timeline_head AS h VALUES (tenant, kind, id, 1, '\x')
    ON CONFLICT (tenant_id, subject_kind, subject_id) DO UPDATE SET position = h.position + 1
    RETURNING * INTO last;
  link := timeline_hash(last.hash, tenant, kind, id, last.position, moment, who, what, facts);
  INSERT INTO timeline VALUES (tenant, kind, id, last.position, moment, who, what, facts, last.hash, link);
  UPDATE timeline_head SET hash = link WHERE tenant_id = tenant AND subject_kind = kind AND subject_id = id;
  RETURN last.position;
END $$;

-- Only the fleet works across tenants. Inside a SECURITY DEFINER function current_user is the owner, so the
-- caller is known by the role setting of its session.
CREATE FUNCTION session_user_may_cross() RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT current_setting('role') = 'algasync_fleet'
$$;
GRANT EXECUTE ON FUNCTION timeline_append, timeline_hash TO algasync_api, algasync_fleet;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER timeline_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON timeline
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
