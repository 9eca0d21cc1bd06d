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
CREATE INDEX event_age ON event (received_at);
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
-- Which money and which credit was put on an invoice, and where a credit went.
CREATE INDEX document_allocation ON document USING gin ((data -> 'allocations') jsonb_path_ops) WHERE kind = 'payment';
CREATE INDEX document_applied_to ON document (tenant_id, (data ->> 'invoice_id')) WHERE kind = 'credit_application';
CREATE INDEX document_applied_from ON document (tenant_id, (data ->> 'source_id')) WHERE kind = 'credit_application';
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
CREATE INDEX operation_age ON operation (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX operation_lease ON operation (lease_until) WHERE state = 'running';
CREATE INDEX operation_listed ON operation (tenant_id, state, created_at, operation_id);
CREATE INDEX operation_document ON operation (tenant_id, document_kind, document_id);
SELECT protect('operation', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE');

-- Named conditions that hold an operation back without spending an attempt.
--   step     another operation of the document, by id          link     a document that is to be in QuickBooks first
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
-- Two documents are never the same object there. But a payment may also stand for credit applied from it.
CREATE UNIQUE INDEX link_theirs ON link (company_id, external_type, external_id, kind) WHERE kind <> 'credit_application';
CREATE INDEX link_object ON link (company_id, external_type, external_id);
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

-- Whether a named condition holds now. The one definition: holding back, releasing and the liveness view share it.
-- plpgsql, because company and setting belong to later migrations.
CREATE FUNCTION condition_met(tenant text, wanted text, about text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = algasync, pg_catalog AS $$
BEGIN
  RETURN CASE wanted
    WHEN 'step' THEN NOT EXISTS (
      SELECT FROM operation WHERE operation_id = about::uuid AND finished_at IS NULL)
    WHEN 'link' THEN  -- <document kind>/<document id>: it is in QuickBooks, or nothing is left to bring it there
      EXISTS (SELECT FROM link l WHERE l.tenant_id = tenant AND l.kind = split_part(about, '/', 1)
                 AND l.document_id = substr(about, strpos(about, '/') + 1))
      OR EXISTS (SELECT FROM document d WHERE d.tenant_id = tenant AND d.kind = split_part(about, '/', 1)
                    AND d.document_id = substr(about, strpos(about, '/') + 1) AND d.applied_sequence > 0)
         AND NOT EXISTS (SELECT FROM operation o WHERE o.tenant_id = tenant AND o.document_kind = split_part(about, '/', 1)
                            AND o.document_id = substr(about, strpos(about, '/') + 1)
                            AND o.kind LIKE 'export\_%' AND o.finished_at IS NULL)
    WHEN 'company' THEN EXISTS (  -- 'default', 'realm:<realm id>' or a company id
      SELECT FROM company c WHERE c.tenant_id = tenant AND c.state = 'active'
         AND CASE WHEN about = 'default' THEN c.is_default
                  WHEN about LIKE 'realm:%' THEN c.realm_id = substr(about, 7)
                  ELSE c.company_id = about::uuid END)
    WHEN 'auto_sync' THEN EXISTS (
      SELECT FROM setting s WHERE s.tenant_id = tenant AND s.scope = 'tenant' AND s.name = 'auto_sync' AND s.value = 'true')
    WHEN 'pause' THEN NOT EXISTS (  -- 'fleet', 'tenant' or a company id
      SELECT FROM pause p WHERE CASE about WHEN 'fleet' THEN p.scope = 'fleet'
                                           WHEN 'tenant' THEN p.scope = 'tenant' AND p.tenant_id = tenant
                                           ELSE p.scope = 'company' AND p.company_id = about::uuid END)
  END;
END $$;

-- Holder and provider of a condition meet on one lock, so that no wake-up is lost: whoever comes second sees
-- what the first one committed.
CREATE FUNCTION condition_lock(tenant text, wanted text, about text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT hashtextextended(tenant || chr(31) || wanted || chr(31) || about, 0)
$$;

-- Record what an operation waits for; returns how many of the conditions do not hold (0: it may go on).
CREATE FUNCTION wait_hold(op uuid, tenant text, wanted text[], about text[]) RETURNS integer
LANGUAGE plpgsql SET search_path = algasync, pg_catalog AS $$
DECLARE
  one record;
  held integer := 0;
BEGIN
  FOR one IN SELECT DISTINCT w, a, condition_lock(tenant, w, a) AS lock
               FROM unnest(wanted, about) AS u (w, a) ORDER BY 3 LOOP
    PERFORM pg_advisory_xact_lock_shared(one.lock);
    IF NOT condition_met(tenant, one.w, one.a) THEN
      INSERT INTO wait (operation_id, tenant_id, condition, key) VALUES (op, tenant, one.w, one.a)
        ON CONFLICT DO NOTHING;
      held := held + 1;
    END IF;
  END LOOP;
  RETURN held;
END $$;

-- Called by whoever made conditions true, in the same transaction: operations that wait for nothing else are due.
-- `chosen` is the company for operations that waited for one to exist.
CREATE FUNCTION wait_release(tenant text, wanted text[], about text[], chosen uuid DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SET search_path = algasync, pg_catalog AS $$
DECLARE
  one record;
  freed uuid[];
  woken integer;
BEGIN
  FOR one IN SELECT DISTINCT condition_lock(tenant, w, a) AS lock FROM unnest(wanted, about) AS u (w, a) ORDER BY 1 LOOP
    PERFORM pg_advisory_xact_lock(one.lock);
  END LOOP;
  WITH gone AS (
    DELETE FROM wait USING unnest(wanted, about) AS u (w, a)
     WHERE wait.tenant_id = tenant AND wait.condition = u.w AND wait.key = u.a
    RETURNING operation_id)
  SELECT coalesce(array_agg(DISTINCT operation_id), '{}') INTO freed FROM gone;
  IF freed = '{}' THEN
    RETURN 0;
  END IF;
  UPDATE operation SET company_id = chosen
   WHERE operation_id = ANY (freed) AND company_id IS NULL AND chosen IS NOT NULL;
  UPDATE operation o SET state = 'queued', due_at = clock_timestamp(), dispatched_at = NULL, reason_code = NULL,
         reason = NULL, updated_at = clock_timestamp()
   WHERE o.operation_id = ANY (freed) AND o.state = 'waiting' AND o.company_id IS NOT NULL
     AND NOT EXISTS (SELECT FROM wait w WHERE w.operation_id = o.operation_id);
  GET DIAGNOSTICS woken = ROW_COUNT;
  RETURN woken;
END $$;
GRANT EXECUTE ON FUNCTION condition_met, condition_lock, wait_hold, wait_release TO algasync_api, algasync_fleet;

-- The liveness invariant: every unfinished operation has a live lease, or is due for dispatch, or waits for an
-- existing unmet condition. A row here is a violation; in a healthy fleet there is none. Failed operations rest
-- with a person and are covered by their exception.
CREATE VIEW liveness_violation WITH (security_invoker = true) AS
  SELECT o.tenant_id, o.operation_id, 'lease_expired' AS violation
    FROM operation o WHERE o.state = 'running' AND o.lease_until < clock_timestamp()
  UNION ALL
  SELECT o.tenant_id, o.operation_id, 'waits_for_nothing'
    FROM operation o WHERE o.state = 'waiting' AND NOT EXISTS (SELECT FROM wait w WHERE w.operation_id = o.operation_id)
  UNION ALL
  SELECT o.tenant_id, o.operation_id, 'condition_met'
    FROM operation o JOIN wait w USING (operation_id)
   WHERE o.state = 'waiting' AND condition_met(o.tenant_id, w.condition, w.key);
GRANT SELECT ON liveness_violation TO algasync_fleet, algasync_api;
CREATE INDEX operation_waiting ON operation (operation_id) WHERE state = 'waiting';
