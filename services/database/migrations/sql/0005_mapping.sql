-- What of ours is what in QuickBooks, and sync settings: a row each, so no write tramples another. The history of
-- both is in the timeline (subjects `mapping` and `setting`), with the value before and after.

CREATE TABLE mapping (
  tenant_id      text NOT NULL,
  company_id     uuid NOT NULL REFERENCES company,
  kind           text NOT NULL CHECK (kind IN
                 ('item', 'item_category', 'discount_item', 'tax_code', 'term', 'payment_method', 'customer', 'billing_profile')),
  key            text NOT NULL CHECK ((key = '') = (kind = 'discount_item')),  -- our id
  variant        text NOT NULL DEFAULT '',      -- currency of a customer, treatment of a tax code
  external_id    text NOT NULL CHECK (external_id <> ''),
  external_name  text NOT NULL DEFAULT '',
  details        jsonb NOT NULL DEFAULT '{}',   -- e.g. class of an item, rate of a tax code
  updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_by     text NOT NULL,
  PRIMARY KEY (company_id, kind, key, variant)
);
CREATE INDEX mapping_listed ON mapping (tenant_id, company_id, kind, key, variant);
CREATE INDEX mapping_external ON mapping (company_id, kind, external_id);
SELECT protect('mapping', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');

-- scope: 'tenant', 'company:<id>' or 'client:<id>'; the narrower one wins.
CREATE TABLE setting (
  tenant_id   text NOT NULL,
  scope       text NOT NULL CHECK (scope = 'tenant' OR scope ~ '^(company|client):.'),
  name        text NOT NULL,
  value       jsonb NOT NULL,
  updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_by  text NOT NULL,
  PRIMARY KEY (tenant_id, scope, name)
);
SELECT protect('setting', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');
