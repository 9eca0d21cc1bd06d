-- The transactional outbox: emit in the caller's transaction, rows for the relay, and the feed of accounting events.

-- What was emitted and not yet seen to arrive. `due_at` is when the relay publishes it (again); NULL is "at once", and
-- the rows the relay has not touched yet. Those it reads in the order (xid, id): with the transaction number it knows
-- which rows it cannot see yet, so that it never looks twice at a row and never misses one that commits late.
CREATE TABLE outbox_event (
  event_id       uuid PRIMARY KEY,
  id             bigint GENERATED ALWAYS AS IDENTITY,
  xid            xid8 NOT NULL DEFAULT pg_current_xact_id(),
  tenant_id      text NOT NULL,
  exchange       text NOT NULL,
  type           text NOT NULL,
  document_kind  text NOT NULL,
  subject        text NOT NULL,
  sequence       bigint NOT NULL CHECK (sequence > 0),
  body           text NOT NULL,                 -- the CloudEvents message, byte for byte
  traceparent    text,
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  due_at         timestamptz,
  published_at   timestamptz,                   -- NULL: no broker has confirmed it
  publications   integer NOT NULL DEFAULT 0,
  failures       integer NOT NULL DEFAULT 0     -- times the broker returned or refused it
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
ALTER TABLE outbox_event ALTER COLUMN body SET STORAGE EXTERNAL;  -- short-lived: compressing it costs more than it saves
CREATE INDEX outbox_event_fresh ON outbox_event (xid NULLS FIRST, id NULLS FIRST) WHERE due_at IS NULL;  -- see outbox/store.py
CREATE INDEX outbox_event_tenant ON outbox_event (tenant_id, exchange, xid, id) WHERE due_at IS NULL;
CREATE INDEX outbox_event_due ON outbox_event (due_at) WHERE due_at IS NOT NULL;
SELECT protect('outbox_event', '', 'SELECT, UPDATE, DELETE');

-- The last number given to an event of a document. The row stays locked until the emitting transaction ends, so numbers
-- have no gaps, and a rollback gives its number back. What billing says and what we answer is counted apart.
CREATE TABLE document_sequence (
  tenant_id      text NOT NULL,
  exchange       text NOT NULL,
  document_kind  text NOT NULL,
  document_id    text NOT NULL,
  last           bigint NOT NULL,
  PRIMARY KEY (tenant_id, exchange, document_kind, document_id)
) WITH (fillfactor = 70);
SELECT protect('document_sequence', '', 'SELECT');

-- What was emitted under an idempotency key; kept 90 days.
CREATE TABLE outbox_idempotency (
  tenant_id        text NOT NULL,
  idempotency_key  text NOT NULL,
  payload_hash     bytea NOT NULL,
  event_id         uuid NOT NULL UNIQUE,
  sequence         bigint,                      -- NULL only inside the transaction that emits
  created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, idempotency_key)
) WITH (fillfactor = 70);
CREATE INDEX outbox_idempotency_age ON outbox_idempotency (created_at);
SELECT protect('outbox_idempotency', '', 'SELECT');

-- UUID version 7 (RFC 9562): milliseconds, then randomness. PostgreSQL has its own from version 18 on.
CREATE FUNCTION uuid_v7() RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
           substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
         52, 1), 53, 1), 'hex')::uuid;
END $$;

-- The tenant named must be the one of the transaction's scope. A login that only emits sets no scope and may name any;
-- inside a SECURITY DEFINER function the caller is known by the role setting of its session.
CREATE FUNCTION outbox_check_tenant(tenant text) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
  scope text := coalesce(current_setting('algasync.tenant', true), '');
  login text := current_setting('role');
BEGIN
  IF event_value_problem(to_jsonb(tenant), 'identifier', 'required', NULL) IS NOT NULL OR tenant = '*' THEN
    RAISE EXCEPTION 'tenant % refused: send the tenant''s id', coalesce(quote_literal(tenant), 'NULL')
      USING ERRCODE = 'invalid_parameter_value';
  ELSIF scope <> tenant AND NOT (scope = '*' AND login = 'algasync_fleet')
        AND NOT (scope = '' AND login NOT IN ('algasync_api', 'algasync_fleet')) THEN
    RAISE EXCEPTION 'event of tenant % emitted from the scope of %', tenant, coalesce(nullif(scope, ''), 'no tenant')
      USING ERRCODE = 'insufficient_privilege', HINT = 'Set algasync.tenant to the tenant the event belongs to.';
  END IF;
END $$;

-- Number an event, write its message, leave it to the relay. Repeating an idempotency key returns what it returned first.
CREATE FUNCTION outbox_append(
  tenant text, rule event_type, kind text, subject text, data jsonb, key text, happened timestamptz, origin text,
  trace text, wanted_id uuid, OUT event_id uuid, OUT sequence bigint
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  first_emitted outbox_idempotency;
  payload_hash  bytea;
  body          text;
BEGIN
  IF event_value_problem(to_jsonb(origin), 'identifier', 'required', NULL) IS NOT NULL THEN
    RAISE EXCEPTION 'source % refused: send a URI such as //psa.example.com/billing', coalesce(quote_literal(origin), 'NULL')
      USING ERRCODE = 'invalid_parameter_value';
  ELSIF event_value_problem(to_jsonb(subject), 'identifier', 'required', NULL) IS NOT NULL THEN
    RAISE EXCEPTION 'subject % refused: send the document''s id', coalesce(quote_literal(subject), 'NULL')
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  event_id := coalesce(wanted_id, uuid_v7());
  key := coalesce(key, wanted_id::text);  -- an id is used once, so it is a key by itself
  IF key IS NOT NULL THEN
    IF length(key) NOT BETWEEN 1 AND 200 THEN
      RAISE EXCEPTION 'idempotency_key has % characters; send 1 to 200', length(key)
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
    payload_hash := sha256(convert_to(jsonb_build_array(rule.type, subject, data)::text, 'UTF8'));
    INSERT INTO outbox_idempotency VALUES (tenant, key, payload_hash, event_id) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      SELECT * INTO first_emitted FROM outbox_idempotency i WHERE i.tenant_id = tenant AND i.idempotency_key = key;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'id % belongs to an event emitted under another idempotency_key', event_id
          USING ERRCODE = 'unique_violation', HINT = 'Nothing was emitted. Give each event an id of its own, or none.';
      ELSIF first_emitted.payload_hash <> payload_hash THEN
        RAISE EXCEPTION 'idempotency_key % was used on % for another event (%)', quote_literal(key),
          to_char(first_emitted.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), first_emitted.event_id
          USING ERRCODE = 'unique_violation', HINT = 'Nothing was emitted. Repeat a key only with the same type, subject and data.';
      END IF;
      event_id := first_emitted.event_id;
      sequence := first_emitted.sequence;
      RETURN;
    END IF;
  END IF;
  INSERT INTO document_sequence AS s VALUES (tenant, rule.exchange, kind, subject, 1)
    ON CONFLICT (tenant_id, exchange, document_kind, document_id) DO UPDATE SET last = s.last + 1
    RETURNING s.last INTO sequence;
  body := jsonb_build_object(
    'specversion', '1.0', 'id', event_id, 'source', origin, 'type', 'com.algapsa.' || rule.exchange || '.' || rule.type,
    'subject', subject, 'time', to_char(happened AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'datacontenttype', 'application/json', 'tenantid', tenant, 'sequence', sequence, 'data', data)
    || CASE WHEN trace IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('traceparent', trace) END;
  IF octet_length(body) > 1048576 THEN
    RAISE EXCEPTION 'data refused: the message has % bytes and may have 1,048,576', to_char(octet_length(body), 'FM999,999,999')
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Nothing was emitted. Shorten the texts or bill in several documents.';
  END IF;
  INSERT INTO outbox_event (event_id, tenant_id, exchange, type, document_kind, subject, sequence, body, traceparent)
    VALUES (event_id, tenant, rule.exchange, rule.type, kind, subject, sequence, body, trace);
  IF key IS NOT NULL THEN
    UPDATE outbox_idempotency i SET sequence = outbox_append.sequence WHERE i.tenant_id = tenant AND i.idempotency_key = key;
  END IF;
END $$;

-- Emit a billing event in the caller's transaction: `SELECT * FROM outbox_emit_v1('tenant', 'invoice.voided.v1', id, data)`.
-- Returns its id and its number among the events of its document. Errors: 22023 names the field that is wrong,
-- 23505 an idempotency key used for something else, 42501 a tenant that is not the transaction's.
CREATE FUNCTION outbox_emit_v1(
  tenant text, type text, subject text, data jsonb,
  idempotency_key text DEFAULT NULL, occurred_at timestamptz DEFAULT clock_timestamp(),
  source text DEFAULT '//algapsa/billing', traceparent text DEFAULT NULL, id uuid DEFAULT NULL,
  OUT event_id uuid, OUT sequence bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
DECLARE
  rule event_type;
BEGIN
  PERFORM outbox_check_tenant(tenant);
  SELECT * INTO rule FROM event_type t WHERE t.type = regexp_replace($2, '^com\.algapsa\.billing\.', '') AND t.exchange = 'billing';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'type % refused: no billing event has that name and version', coalesce(quote_literal(type), 'NULL')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Known: ' ||
        (SELECT string_agg(t.type, ', ' ORDER BY t.type) FROM event_type t WHERE t.exchange = 'billing') || '.';
  END IF;
  PERFORM event_check(rule, subject, data);
  SELECT a.event_id, a.sequence INTO event_id, sequence FROM outbox_append(
    tenant, rule, rule.document_kind, subject, data, idempotency_key, coalesce(occurred_at, clock_timestamp()), source, traceparent, id) a;
END $$;
GRANT EXECUTE ON FUNCTION outbox_emit_v1 TO algasync_emit, algasync_api, algasync_fleet;

-- The same for what we tell billing; its data was checked by the Python that made it.
CREATE FUNCTION outbox_emit_accounting_v1(
  tenant text, type text, kind text, subject text, data jsonb,
  idempotency_key text DEFAULT NULL, occurred_at timestamptz DEFAULT clock_timestamp(),
  source text DEFAULT '//algasync', traceparent text DEFAULT NULL, id uuid DEFAULT NULL,
  OUT event_id uuid, OUT sequence bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
DECLARE
  rule event_type;
BEGIN
  PERFORM outbox_check_tenant(tenant);
  SELECT * INTO rule FROM event_type t WHERE t.type = $2 AND t.exchange = 'accounting';
  IF NOT FOUND OR kind IS NULL OR jsonb_typeof(data) IS DISTINCT FROM 'object' THEN
    RAISE EXCEPTION 'type %, kind % refused: send a known accounting event, its kind of document and a JSON object', type, kind
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT a.event_id, a.sequence INTO event_id, sequence FROM outbox_append(
    tenant, rule, kind, subject, data, idempotency_key, coalesce(occurred_at, clock_timestamp()), source, traceparent, id) a;
END $$;
GRANT EXECUTE ON FUNCTION outbox_emit_accounting_v1 TO algasync_api, algasync_fleet;

-- What we told billing, for 30 days: append-only, in daily partitions, read by cursor.
CREATE TABLE accounting_event (
  position     bigint NOT NULL,
  tenant_id    text NOT NULL,
  event_id     uuid NOT NULL,
  type         text NOT NULL,
  subject      text NOT NULL,
  sequence     bigint NOT NULL,
  body         text NOT NULL,
  recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp()
) PARTITION BY RANGE (recorded_at);
CREATE INDEX accounting_event_cursor ON accounting_event (tenant_id, position);
CREATE SEQUENCE accounting_event_position;
SELECT protect('accounting_event', 'SELECT', 'SELECT');

-- The last position of what was dropped: a cursor before it has missed something, and is told so.
CREATE TABLE accounting_event_dropped (through bigint NOT NULL);
INSERT INTO accounting_event_dropped VALUES (0);
GRANT SELECT ON accounting_event_dropped TO algasync_api, algasync_fleet;

-- Move accounting events that the broker confirmed from the outbox into the feed. Positions are given under a lock that is
-- held to the end of the transaction, so they become visible in their order and a cursor never passes a late one.
CREATE FUNCTION accounting_event_append(published uuid[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
DECLARE
  moved integer;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('algasync.accounting_event'));
  WITH gone AS (
    DELETE FROM outbox_event o WHERE o.event_id = ANY (published) AND o.exchange = 'accounting' RETURNING o.*
  )
  INSERT INTO accounting_event (position, tenant_id, event_id, type, subject, sequence, body)
  SELECT nextval('accounting_event_position'), g.tenant_id, g.event_id, g.type, g.subject, g.sequence, g.body
    FROM (SELECT * FROM gone ORDER BY xid, id) AS g;
  GET DIAGNOSTICS moved = ROW_COUNT;
  RETURN moved;
END $$;
GRANT EXECUTE ON FUNCTION accounting_event_append TO algasync_fleet;

-- Make the feed's partitions of the coming week, drop those older than 30 days and idempotency keys older than 90.
-- Waits at most a second for a reader; what it could not drop it drops the next time. Returns what it made and dropped.
CREATE FUNCTION outbox_maintain(
  feed_days integer DEFAULT 30, key_days integer DEFAULT 90,
  OUT partitions_made integer, OUT partitions_dropped integer, OUT keys_dropped integer
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp SET lock_timeout = '1s' SET timezone = 'UTC' AS $$
DECLARE
  today     date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
  day       date;
  partition text;
  last      bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('algasync.outbox_maintain'));
  partitions_made := 0;
  partitions_dropped := 0;
  FOR day IN SELECT generate_series(today, today + 7, interval '1 day')::date LOOP
    partition := 'accounting_event_' || to_char(day, 'YYYYMMDD');
    IF to_regclass(partition) IS NULL THEN
      EXECUTE format('CREATE TABLE %I (LIKE accounting_event INCLUDING DEFAULTS)', partition);
      PERFORM protect(partition::regclass, '', '');
      EXECUTE format('ALTER TABLE accounting_event ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                     partition, day::timestamptz, (day + 1)::timestamptz);
      partitions_made := partitions_made + 1;
    END IF;
  END LOOP;
  FOR partition IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                    WHERE i.inhparent = 'accounting_event'::regclass
                      AND c.relname < 'accounting_event_' || to_char(today - feed_days, 'YYYYMMDD') ORDER BY 1 LOOP
    BEGIN
      EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', partition);
      EXECUTE format('SELECT max(position) FROM %I', partition) INTO last;
      UPDATE accounting_event_dropped SET through = greatest(through, coalesce(last, 0));
      EXECUTE format('DROP TABLE %I', partition);
      partitions_dropped := partitions_dropped + 1;
    EXCEPTION WHEN lock_not_available THEN
      NULL;
    END;
  END LOOP;
  DELETE FROM outbox_idempotency WHERE created_at < clock_timestamp() - make_interval(days => key_days);
  GET DIAGNOSTICS keys_dropped = ROW_COUNT;
END $$;
GRANT EXECUTE ON FUNCTION outbox_maintain TO algasync_fleet;
SELECT outbox_maintain();
