-- QuickBooks -> billing: the change feed and its certificates, what was seen there, and what the PSA was told of it.

-- Work that needs no call has a lane of its own, so that neither direction waits for the other.
ALTER TABLE operation DROP CONSTRAINT operation_lane_check;
ALTER TABLE operation ADD CONSTRAINT operation_lane_check CHECK (lane IN (0, 1, 2, 3));  -- urgent, normal, backfill, local

-- Polls are forgotten sooner than other work.
CREATE INDEX operation_polls ON operation (finished_at) WHERE kind = 'poll';

-- What was sent and not answered may be what QuickBooks shows us.
CREATE INDEX operation_unanswered ON operation (company_id) WHERE outcome IN ('intended', 'unknown') AND finished_at IS NULL;

-- Where each company's feed is read up to, and when it is read next.
CREATE TABLE change_feed (
  company_id  uuid PRIMARY KEY REFERENCES company,
  tenant_id   text NOT NULL,
  begins_at   timestamptz NOT NULL,             -- what changed before it is history, and nobody's business here
  cursor      timestamptz NOT NULL,             -- Intuit's clock: what changed before it is stored
  due_at      timestamptz NOT NULL,
  cause       text NOT NULL DEFAULT 'schedule' CHECK (cause IN ('schedule', 'webhook', 'request')),  -- of the next cycle
  cycle       bigint NOT NULL DEFAULT 0,        -- number of the last one
  swept_at    timestamptz NOT NULL DEFAULT clock_timestamp(),  -- when we last looked for what the feed does not show
  webhook_at  timestamptz                       -- when Intuit last woke us
) WITH (fillfactor = 70);
CREATE INDEX change_feed_due ON change_feed (due_at);
SELECT protect('change_feed', 'SELECT, UPDATE', 'SELECT, INSERT, UPDATE');

-- One reading of the feed: its certificate of completeness, and what is left to ask while it runs.
CREATE TABLE poll_cycle (
  company_id     uuid NOT NULL REFERENCES company,
  number         bigint NOT NULL,
  tenant_id      text NOT NULL,
  operation_id   uuid NOT NULL UNIQUE,
  cause          text NOT NULL,
  state          text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'complete', 'incomplete')),
  reason         text,                          -- why it is incomplete
  cursor_before  timestamptz NOT NULL,
  asked_from     timestamptz NOT NULL,          -- the window's begin: the cursor less an overlap
  cursor_after   timestamptz,                   -- the window's end, by Intuit's clock; set by the first answer
  todo           jsonb NOT NULL DEFAULT '[]',   -- what is still to be asked
  answered       jsonb NOT NULL DEFAULT '{}',   -- objects in the answers, by entity
  outcomes       jsonb NOT NULL DEFAULT '{}',   -- what they were: new, echo, seen, unlinked
  resolution     jsonb NOT NULL DEFAULT '[]',   -- how an answer that may have been cut was made whole, step by step
  reads          integer NOT NULL DEFAULT 0,
  started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at    timestamptz,
  PRIMARY KEY (company_id, number),
  CHECK ((state = 'complete') = (finished_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX poll_cycle_age ON poll_cycle (finished_at);
SELECT protect('poll_cycle', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE');

-- What a cycle that has to look object by object has found alive already.
CREATE TABLE poll_seen (
  company_id   uuid NOT NULL,
  tenant_id    text NOT NULL,
  entity       text NOT NULL,
  external_id  text NOT NULL,
  PRIMARY KEY (company_id, entity, external_id)
);
SELECT protect('poll_seen', '', 'SELECT, INSERT, DELETE');

-- Every version of an object that we were shown and did not write ourselves.
CREATE TABLE quickbooks_change (
  change_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id    text NOT NULL,
  company_id   uuid NOT NULL REFERENCES company,
  entity       text NOT NULL,
  external_id  text NOT NULL,
  version      bigint NOT NULL,                 -- ours: 1, 2, 3, ...
  cycle        bigint,                          -- NULL: read outside the feed
  deleted      boolean NOT NULL,
  body         jsonb,                           -- as QuickBooks sent it; NULL when deleted
  seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (company_id, entity, external_id, version)
);
CREATE INDEX quickbooks_change_age ON quickbooks_change (seen_at);
SELECT protect('quickbooks_change', 'SELECT', 'SELECT, INSERT, DELETE');

-- The newest version of each object.
CREATE TABLE quickbooks_object (
  company_id   uuid NOT NULL REFERENCES company,
  entity       text NOT NULL,
  external_id  text NOT NULL,
  tenant_id    text NOT NULL,
  version      bigint NOT NULL,
  change_id    bigint NOT NULL,
  sync_token   text,                            -- NULL when deleted
  changed_at   timestamptz,                     -- by QuickBooks' clock, as far as it said
  deleted      boolean NOT NULL,
  repairs      integer NOT NULL DEFAULT 0,      -- times it was judged again without having changed
  judge_at     timestamptz,                     -- something around it changed: judge it again
  PRIMARY KEY (company_id, entity, external_id)
) WITH (fillfactor = 70);
CREATE INDEX quickbooks_object_again ON quickbooks_object (judge_at) WHERE judge_at IS NOT NULL;
SELECT protect('quickbooks_object', 'SELECT, UPDATE', 'SELECT, INSERT, UPDATE');

-- Payments that are to be judged again when something becomes of this object: it is linked, or has room again.
CREATE TABLE payment_interest (
  company_id     uuid NOT NULL,
  external_type  text NOT NULL,
  external_id    text NOT NULL,
  payment_id     text NOT NULL,                 -- QuickBooks' id
  tenant_id      text NOT NULL,
  PRIMARY KEY (company_id, external_type, external_id, payment_id)
);
CREATE INDEX payment_interest_of ON payment_interest (company_id, payment_id);
SELECT protect('payment_interest', 'SELECT', 'SELECT, INSERT, DELETE');

-- What the PSA believes of payments in QuickBooks: told (it has them as they stand here), or not told, and why.
CREATE TABLE psa_payment (
  company_id          uuid NOT NULL REFERENCES company,
  external_id         text NOT NULL,
  tenant_id           text NOT NULL,
  payment_id          text NOT NULL,            -- our name of it in events
  billing_payment_id  text,                     -- the PSA's own, when it came from there
  billing_sequence    bigint,                   -- of the PSA's payment when it was told: a later event of its own wins
  state               text NOT NULL CHECK (state IN ('told', 'withdrawn', 'held', 'ignored')),
  code                text,                     -- why it is held or ignored
  version             bigint NOT NULL,          -- of the object in QuickBooks
  customer_id         text NOT NULL,
  client_id           text,
  date                date,
  currency            text NOT NULL,
  amount              bigint NOT NULL,          -- minor units
  money               jsonb NOT NULL,           -- amount, date and where it is, as events say it
  facts               jsonb NOT NULL DEFAULT '{}',  -- reference, method, customer's name: what may change beside money
  updated_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (company_id, external_id)
) WITH (fillfactor = 70);
CREATE INDEX psa_payment_customer ON psa_payment (company_id, customer_id) WHERE state IN ('held', 'ignored');
CREATE INDEX psa_payment_listed ON psa_payment (tenant_id, state, company_id, external_id);
CREATE INDEX psa_payment_billing ON psa_payment (tenant_id, billing_payment_id) WHERE billing_payment_id IS NOT NULL;
SELECT protect('psa_payment', 'SELECT', 'SELECT, INSERT, UPDATE');

-- Where the cash of a told payment went. invoice_id is NULL outside of what the PSA bills.
CREATE TABLE psa_allocation (
  company_id   uuid NOT NULL,
  payment_id   text NOT NULL,                   -- QuickBooks' id
  target_type  text NOT NULL,
  target_id    text NOT NULL,
  tenant_id    text NOT NULL,
  invoice_id   text,
  number       text,
  amount       bigint NOT NULL,
  PRIMARY KEY (company_id, payment_id, target_type, target_id),
  FOREIGN KEY (company_id, payment_id) REFERENCES psa_payment
);
CREATE INDEX psa_allocation_invoice ON psa_allocation (tenant_id, invoice_id) WHERE invoice_id IS NOT NULL;
SELECT protect('psa_allocation', 'SELECT', 'SELECT, INSERT, DELETE');

-- Credit that settles an invoice in QuickBooks, as the PSA was told of it.
CREATE TABLE psa_credit (
  company_id      uuid NOT NULL REFERENCES company,
  application_id  text NOT NULL,                -- our name of it in events
  tenant_id       text NOT NULL,
  payment_id      text NOT NULL,                -- QuickBooks' id of the payment that joins credit and invoice
  credit_type     text NOT NULL,
  credit_id       text NOT NULL,                -- QuickBooks' id
  invoice_id      text NOT NULL,
  state           text NOT NULL CHECK (state IN ('told', 'withdrawn')),
  currency        text NOT NULL,
  amount          bigint NOT NULL,              -- what was last told; counts while told
  date            date NOT NULL,
  updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (company_id, application_id)
);
CREATE INDEX psa_credit_payment ON psa_credit (company_id, payment_id);
CREATE INDEX psa_credit_invoice ON psa_credit (tenant_id, invoice_id);
SELECT protect('psa_credit', 'SELECT', 'SELECT, INSERT, UPDATE');

-- Documents of ours that somebody changed in QuickBooks, with both versions. At most one open row a document.
CREATE TABLE drift (
  company_id    uuid NOT NULL REFERENCES company,
  kind          text NOT NULL,
  document_id   text NOT NULL,
  tenant_id     text NOT NULL,
  change        text NOT NULL CHECK (change IN ('changed', 'voided', 'deleted')),
  version       bigint NOT NULL,                -- of the object in QuickBooks
  digest        text NOT NULL,                  -- of the differences: the same ones are told once
  differences   jsonb NOT NULL,
  agreed        jsonb NOT NULL,                 -- what both books had
  observed      jsonb,                          -- what QuickBooks has now; NULL when deleted
  state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
  exception_id  uuid,
  detected_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  closed_at     timestamptz,
  resolution    text,
  PRIMARY KEY (company_id, kind, document_id),
  CHECK ((state = 'closed') = (closed_at IS NOT NULL))
);
CREATE INDEX drift_open ON drift (tenant_id, kind, document_id) WHERE state = 'open';
SELECT protect('drift', 'SELECT, UPDATE', 'SELECT, INSERT, UPDATE');

-- A payment that looks for links and whoever makes one meet on this lock: whoever comes second sees the other's.
CREATE FUNCTION object_lock(company uuid, external_type text, external_id text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT hashtextextended('object' || chr(31) || company || chr(31) || external_type || chr(31) || external_id, 0)
$$;
GRANT EXECUTE ON FUNCTION object_lock TO algasync_api, algasync_fleet;

-- A link is made, or lives again: what waited for it is judged again, and so is the object itself if it was seen
-- in another version than the one that was linked.
CREATE FUNCTION link_made() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(object_lock(NEW.company_id, NEW.external_type, NEW.external_id));
  UPDATE quickbooks_object o SET judge_at = clock_timestamp()
    FROM payment_interest i
   WHERE i.company_id = NEW.company_id AND i.external_type = NEW.external_type AND i.external_id = NEW.external_id
     AND o.company_id = i.company_id AND o.entity = 'Payment' AND o.external_id = i.payment_id;
  UPDATE quickbooks_object o SET judge_at = clock_timestamp()
   WHERE o.company_id = NEW.company_id AND o.entity = NEW.external_type AND o.external_id = NEW.external_id
     AND (o.sync_token IS DISTINCT FROM NEW.sync_token OR NEW.kind = 'credit_application'
          OR EXISTS (SELECT FROM drift d WHERE d.company_id = NEW.company_id AND d.kind = NEW.kind
                        AND d.document_id = NEW.document_id AND d.state = 'open'));
  IF TG_OP = 'UPDATE' THEN  -- the document was made anew: what was said of its former object is settled
    UPDATE quickbooks_object o SET judge_at = clock_timestamp()
     WHERE o.company_id = OLD.company_id AND o.entity = OLD.external_type AND o.external_id = OLD.external_id
       AND OLD.external_id <> NEW.external_id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER link_inserted AFTER INSERT ON link FOR EACH ROW WHEN (NEW.state = 'synced') EXECUTE FUNCTION link_made();
CREATE TRIGGER link_revived AFTER UPDATE ON link FOR EACH ROW
  WHEN (NEW.state = 'synced' AND (NEW.external_id, NEW.external_type) IS DISTINCT FROM (OLD.external_id, OLD.external_type)
        OR NEW.state = 'synced' AND OLD.state <> 'synced')
  EXECUTE FUNCTION link_made();

-- Billing voids what somebody had voided in QuickBooks before: the books agree again.
CREATE FUNCTION document_voided() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
BEGIN
  UPDATE quickbooks_object o SET judge_at = clock_timestamp()
    FROM drift d JOIN link l USING (company_id, kind, document_id)
   WHERE d.tenant_id = NEW.tenant_id AND d.kind = NEW.kind AND d.document_id = NEW.document_id AND d.state = 'open'
     AND o.company_id = l.company_id AND o.entity = l.external_type AND o.external_id = l.external_id;
  RETURN NULL;
END $$;
CREATE TRIGGER document_voided AFTER UPDATE ON document FOR EACH ROW
  WHEN (NEW.state = 'voided' AND OLD.state <> 'voided') EXECUTE FUNCTION document_voided();

-- A client gets a customer: payments of that customer that were passed over are judged again.
CREATE FUNCTION customer_mapped() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
BEGIN
  UPDATE quickbooks_object o SET judge_at = clock_timestamp()
    FROM psa_payment p
   WHERE p.company_id = NEW.company_id AND p.customer_id = NEW.external_id AND p.state IN ('held', 'ignored')
     AND o.company_id = p.company_id AND o.entity = 'Payment' AND o.external_id = p.external_id;
  RETURN NULL;
END $$;
CREATE TRIGGER customer_mapped AFTER INSERT OR UPDATE OF external_id ON mapping FOR EACH ROW
  WHEN (NEW.kind IN ('customer', 'billing_profile')) EXECUTE FUNCTION customer_mapped();

-- The next moment of a company's own: the same within every interval, and another for every company.
CREATE FUNCTION poll_slot(company uuid, after timestamptz, seconds float8) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
  SELECT to_timestamp(s.own + seconds * (floor((extract(epoch FROM after) - s.own) / seconds) + 1))
    FROM (SELECT (hashtextextended(company::text, 0) & 1048575) / 1048576.0 * seconds AS own) s
$$;
GRANT EXECUTE ON FUNCTION poll_slot TO algasync_api, algasync_fleet;
