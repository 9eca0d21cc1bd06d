-- The company's lists that mappings and settings choose from, as last read: choices, checks and forecasts cost no
-- metered read while they are fresh. What disappears stays, so that a mapping to it can still be called by its name.
CREATE TABLE catalog (
  company_id  uuid NOT NULL REFERENCES company,
  tenant_id   text NOT NULL,
  entity      text NOT NULL,                    -- Item, TaxCode, Term ...
  read_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (company_id, entity)
);
SELECT protect('catalog', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

CREATE TABLE catalog_entry (
  company_id   uuid NOT NULL REFERENCES company,
  tenant_id    text NOT NULL,
  entity       text NOT NULL,
  external_id  text NOT NULL,
  name         text NOT NULL,                   -- with its parents
  active       boolean NOT NULL,
  data         jsonb NOT NULL,                  -- the row as QuickBooks has it
  gone_at      timestamptz,                     -- since when it is not listed any more
  PRIMARY KEY (company_id, entity, external_id)
);
SELECT protect('catalog_entry', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

-- Services and products as the PSA lists them, to be matched with the company's items.
CREATE TABLE onboarding_service (
  tenant_id   text NOT NULL,
  service_id  text NOT NULL CHECK (service_id <> ''),
  name        text NOT NULL,
  sku         text NOT NULL DEFAULT '',
  kind        text NOT NULL DEFAULT 'service' CHECK (kind IN ('service', 'product')),
  active      boolean NOT NULL DEFAULT true,
  updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, service_id)
);
SELECT protect('onboarding_service', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');
