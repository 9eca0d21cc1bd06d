-- What emit in SQL refuses: the contract with billing, as messages/ has it in Python.

-- Every event there is, and the fields of what billing sends; rows in 0002_contract.sql, read off `messages`.
CREATE TABLE event_type (
  type           text PRIMARY KEY,              -- routing key, e.g. invoice.finalized.v1
  exchange       text NOT NULL CHECK (exchange IN ('billing', 'accounting')),
  document_kind  text,                          -- NULL: the data says it
  id_field       text,                          -- field of the data that is the subject
  shape          text,                          -- NULL: accounting events, checked by the Python that makes them
  adds_up        text CHECK (adds_up IN ('document', 'allocations'))
);
CREATE TABLE event_field (
  shape     text NOT NULL,
  field     text NOT NULL,
  kind      text NOT NULL,
  presence  text NOT NULL CHECK (presence IN ('required', 'optional', 'default')),  -- optional may be null
  part      text,                               -- shape of an object, or of each row
  allowed   text[],                             -- of a literal or a currency
  PRIMARY KEY (shape, field)
);

CREATE FUNCTION is_calendar_date(written text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN written ~ '^\d{4}-(0[1-9]|1[0-2])-\d\d$' AND left(written, 4) <> '0000' THEN
    right(written, 2)::integer BETWEEN 1 AND
      extract(day FROM make_date(left(written, 4)::integer, substr(written, 6, 2)::integer, 1) + interval '1 month - 1 day')
  ELSE false END
$$;

CREATE FUNCTION event_shown(value jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE jsonb_typeof(value) WHEN 'object' THEN 'an object' WHEN 'array' THEN 'an array' ELSE left(value::text, 60) END
$$;

-- What is wrong with one value, as the rest of a sentence that begins with the field's name; NULL when nothing is.
-- The same rules as messages/shape.py; a test compares the verdicts. One expression, so that PostgreSQL inlines it.
CREATE FUNCTION event_value_problem(value jsonb, kind text, presence text, allowed text[]) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE
  WHEN value IS NULL THEN
    CASE presence WHEN 'required' THEN 'is missing; send it' END
  WHEN presence = 'optional' AND jsonb_typeof(value) = 'null' THEN NULL
  WHEN kind = 'text' THEN
    CASE WHEN jsonb_typeof(value) <> 'string' THEN 'is ' || event_shown(value) || '; send a string in quotes' END
  WHEN kind = 'identifier' THEN
    CASE WHEN jsonb_typeof(value) <> 'string' THEN 'is ' || event_shown(value) || '; send a string in quotes'
         WHEN presence = 'optional' AND value #>> '{}' !~ '\S' THEN NULL  -- forms send "" for what nobody filled in
         WHEN length(value #>> '{}') NOT BETWEEN 1 AND 200
         THEN 'has ' || length(value #>> '{}') || ' characters; send an id of 1 to 200'
         WHEN value #>> '{}' !~ '^[^\s\u0001-\u001F\u007F]+( +[^\s\u0001-\u001F\u007F]+)*$'
         THEN 'has blanks at an end, or line breaks or control characters in it; send the bare id' END
  WHEN kind IN ('minor', 'minor_above_0', 'minor_from_0') THEN
    CASE WHEN jsonb_typeof(value) <> 'number' OR value #>> '{}' !~ '^-?\d+$'
         THEN 'is ' || event_shown(value) || '; send an integer of minor units: 12.50 USD is 1250'
         WHEN abs((value #>> '{}')::numeric) > 9007199254740991
         THEN 'is beyond 2**53 - 1 minor units, where readers of JSON lose cents; check the amount'
         WHEN kind = 'minor_above_0' AND (value #>> '{}')::numeric <= 0
         THEN 'is ' || event_shown(value) || '; send an amount above 0'
         WHEN kind = 'minor_from_0' AND (value #>> '{}')::numeric < 0
         THEN 'is ' || event_shown(value) || '; send 0 or more' END
  WHEN kind IN ('decimal', 'rate', 'exchange_rate') THEN
    CASE WHEN jsonb_typeof(value) <> 'string' OR value #>> '{}' !~ '^-?[0-9]{1,15}(\.[0-9]{1,10})?$'
         THEN 'is ' || event_shown(value) || '; send a decimal string such as "12.5": at most 15 digits before the point '
              'and 10 after it, no exponent, no thousands separators'
         WHEN kind = 'exchange_rate' AND (value #>> '{}')::numeric <= 0
         THEN 'is ' || event_shown(value) || '; send a number above 0'
         WHEN kind = 'rate' AND (value #>> '{}')::numeric < 0 THEN 'is ' || event_shown(value) || '; send 0 or more' END
  WHEN kind = 'boolean' THEN
    CASE WHEN jsonb_typeof(value) <> 'boolean' THEN 'is ' || event_shown(value) || '; send true or false, without quotes' END
  WHEN kind = 'date' THEN
    CASE WHEN jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^\d{4}-\d{2}-\d{2}[Tt ]\d'
         THEN 'is ' || event_shown(value) || ', an instant; send the date alone, such as 2026-03-31, as the document itself '
              'shows it'
         WHEN jsonb_typeof(value) <> 'string' OR NOT is_calendar_date(value #>> '{}')
         THEN 'is ' || event_shown(value) || '; send an ISO date such as 2026-03-31' END
  WHEN kind = 'instant' THEN
    CASE WHEN jsonb_typeof(value) <> 'string' OR NOT is_calendar_date(left(value #>> '{}', 10))
              OR value #>> '{}' !~ ('^.{10}[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$')
         THEN 'is ' || event_shown(value) || '; send an instant with its offset from UTC, such as 2026-03-31T19:00:00-07:00' END
  WHEN kind = 'currency' THEN
    CASE WHEN jsonb_typeof(value) <> 'string' OR value #>> '{}' <> ALL (allowed)
         THEN 'is ' || event_shown(value) || '; send an ISO 4217 currency code in capitals such as USD' END
  WHEN kind = 'literal' THEN
    CASE WHEN jsonb_typeof(value) <> 'string' OR value #>> '{}' <> ALL (allowed)
         THEN 'is ' || event_shown(value) || '; send ' || array_to_string(allowed, ' or ') END
  WHEN kind = 'name' THEN
    CASE WHEN jsonb_typeof(value) <> 'string' OR value #>> '{}' !~ '\S'
         THEN 'is ' || event_shown(value) || '; send some text' END
  WHEN kind = 'object' THEN
    CASE WHEN jsonb_typeof(value) <> 'object' THEN 'is ' || event_shown(value) || '; send a JSON object' END
  WHEN kind = 'rows' THEN
    CASE WHEN jsonb_typeof(value) <> 'array'
         THEN 'is ' || event_shown(value) || '; send a JSON array, [] when there is none' END
  ELSE 'has a rule that this database does not know (' || kind || '); run the migrations'
  END
$$;

-- Everything wrong with the fields of an event, objects and rows within it included.
CREATE FUNCTION event_field_problems(data jsonb, data_shape text) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
BEGIN  -- plpgsql keeps the plan; a function in SQL would be planned at each call
  RETURN QUERY WITH RECURSIVE node AS (
    SELECT 'data' AS path, data AS value, data_shape AS shape
    UNION ALL
    SELECT part.path, part.value, f.part
      FROM node n
      JOIN event_field f ON f.shape = n.shape AND f.part IS NOT NULL
     CROSS JOIN LATERAL (
       SELECT n.path || '.' || f.field AS path, n.value -> f.field AS value
        WHERE f.kind = 'object' AND jsonb_typeof(n.value -> f.field) = 'object'
       UNION ALL
       SELECT format('%s.%s[%s]', n.path, f.field, row.number - 1), row.value
         FROM jsonb_array_elements(CASE WHEN f.kind = 'rows' AND jsonb_typeof(n.value -> f.field) = 'array'
                                   THEN n.value -> f.field ELSE '[]' END) WITH ORDINALITY AS row (value, number)
     ) AS part
  )
  SELECT n.path || ' is ' || left(n.value::text, 60) || '; send a JSON object' FROM node n
   WHERE jsonb_typeof(n.value) <> 'object'
  UNION ALL
  SELECT n.path || '.' || f.field || ' ' || found.problem
    FROM node n
    JOIN event_field f ON f.shape = n.shape AND (f.presence = 'required' OR n.value ? f.field)
   CROSS JOIN LATERAL event_value_problem(n.value -> f.field, f.kind, f.presence, f.allowed) AS found (problem)
   WHERE found.problem IS NOT NULL AND jsonb_typeof(n.value) = 'object';
END $$;

-- Whether a document adds up: the rules of messages/lines.py and messages/invoices.py, fields being right already.
CREATE FUNCTION event_document_problems(data jsonb, document_kind text) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
DECLARE
  subtotal numeric := (data ->> 'subtotal')::numeric;
  discount numeric := abs((data ->> 'discount')::numeric);
  tax      numeric := (data ->> 'tax')::numeric;
  total    numeric := (data ->> 'total')::numeric;
  net      numeric;
  taxes    numeric;
  ids      text[];
BEGIN
  SELECT coalesce(sum((line ->> 'net_amount')::numeric), 0), coalesce(sum((line ->> 'tax_amount')::numeric), 0),
         coalesce(array_agg(line ->> 'id'), '{}')
    INTO net, taxes, ids FROM jsonb_array_elements(data -> 'lines') AS line;
  RETURN QUERY
    SELECT format('data.lines[%s].%s', l.number - 1, p.problem)
      FROM jsonb_array_elements(data -> 'lines') WITH ORDINALITY AS l (line, number)
     CROSS JOIN LATERAL (
       SELECT 'id is the id of another line, too; give each its own'
        WHERE l.line ->> 'id' = ANY (ids[:l.number - 1])
       UNION ALL
       SELECT format('%s is %L, which is not the id of another line of this document; correct it or leave it out',
                     reference, l.line ->> reference)
         FROM unnest(ARRAY['parent_id', 'applies_to']) AS reference
        WHERE l.line ->> reference ~ '\S' AND (l.line ->> reference <> ALL (ids) OR l.line ->> reference = l.line ->> 'id')
       UNION ALL
       SELECT format('tax_components add up to %s, but the line''s tax_amount is %s; make them equal',
                     sum((component ->> 'amount')::numeric), l.line ->> 'tax_amount')
         FROM jsonb_array_elements(CASE jsonb_typeof(l.line -> 'tax_components') WHEN 'array'
                                   THEN l.line -> 'tax_components' ELSE '[]' END) AS component
       HAVING sum((component ->> 'amount')::numeric) <> (l.line ->> 'tax_amount')::numeric
       UNION ALL
       SELECT format('service_period_end is %s, before the period starts on %s; swap or correct them',
                     l.line ->> 'service_period_end', l.line ->> 'service_period_start')
        WHERE l.line ->> 'service_period_end' < l.line ->> 'service_period_start'
     ) AS p (problem);
  IF net + tax <> total THEN
    RETURN NEXT format('data.total is %s, but the lines (%s) and the tax (%s) add up to %s; correct the total or the line '
                       'that is off', total, net, tax, net + tax);
  END IF;
  -- discounts bring an amount nearer to 0: down on an invoice, up on a credit note
  IF total - tax NOT IN (subtotal, subtotal - CASE WHEN subtotal >= 0 THEN discount ELSE -discount END) THEN
    RETURN NEXT format('data.subtotal is %s; with tax %s and discount %s it does not lead to the total of %s, neither '
                       'before nor after discounts; correct it', subtotal, tax, data ->> 'discount', total);
  END IF;
  IF data ->> 'tax_source' = 'internal' AND taxes <> tax THEN
    RETURN NEXT format('data.tax is %s, but the tax_amount of the lines adds up to %s; make them equal, or name the '
                       'tax_source if the tax was computed elsewhere', tax, taxes);
  END IF;
  IF document_kind = 'invoice' AND total < 0 THEN
    RETURN NEXT format('data.total is %s; send what is owed to a client as credit_note.finalized', total);
  ELSIF document_kind = 'credit_note' AND total > 0 THEN
    RETURN NEXT format('data.total is %s; a credit note has a negative total and negative lines, as in AlgaPSA', total);
  END IF;
  IF data ->> 'exchange_rate_date' IS NOT NULL AND data ->> 'exchange_rate' IS NULL THEN
    RETURN NEXT 'data.exchange_rate is missing while exchange_rate_date is given; send both or neither';
  END IF;
END $$;

-- Whether the allocations of a payment fit: each invoice once, and no more than the amount, when that is said.
CREATE FUNCTION event_allocation_problems(data jsonb) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY SELECT format('data.allocations names invoice %L %s times; send one allocation an invoice', row ->> 'invoice_id', count(*))
    FROM jsonb_array_elements(data -> 'allocations') AS row GROUP BY row ->> 'invoice_id' HAVING count(*) > 1
  UNION ALL
  SELECT format('data.allocations add up to %s, more than the payment''s amount of %s; lower an allocation',
                sum((row ->> 'amount')::numeric), data ->> 'amount')
    FROM jsonb_array_elements(data -> 'allocations') AS row
  HAVING sum((row ->> 'amount')::numeric) > (data ->> 'amount')::numeric;
END $$;

-- Refuse what breaks the contract of a billing event, naming every field and what to send instead.
CREATE FUNCTION event_check(rule event_type, subject text, data jsonb) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
  problems text[];
BEGIN
  IF data IS NULL OR jsonb_typeof(data) <> 'object' THEN
    problems := ARRAY['data is ' || coalesce(left(data::text, 60), 'NULL') || '; send a JSON object'];
  ELSIF jsonb_path_exists(data, 'strict $.**{31} ? (@.type() == "object" || @.type() == "array")') THEN
    problems := ARRAY['data is nested deeper than 32 levels; flatten it'];
  ELSE
    problems := ARRAY(SELECT event_field_problems(data, rule.shape) LIMIT 20);
    IF problems = '{}' AND rule.adds_up = 'document' THEN
      problems := ARRAY(SELECT event_document_problems(data, rule.document_kind) LIMIT 20);
    ELSIF problems = '{}' AND rule.adds_up = 'allocations' THEN
      problems := ARRAY(SELECT event_allocation_problems(data) LIMIT 20);
    END IF;
    IF problems = '{}' AND data ->> rule.id_field IS DISTINCT FROM subject THEN
      problems := ARRAY[format('subject is %L, but data.%s is %L; send the document''s id as subject',
                               subject, rule.id_field, data ->> rule.id_field)];
    END IF;
  END IF;
  IF problems <> '{}' THEN
    RAISE EXCEPTION '% refused: %', rule.type, array_to_string(problems, '; ')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Nothing was emitted. Correct the fields named and emit again.';
  END IF;
END $$;
