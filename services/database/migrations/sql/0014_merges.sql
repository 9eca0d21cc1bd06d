-- What only a webhook tells: which customer another one was merged into. The API notes it, the fleet files it.
CREATE TABLE customer_merge (
  company_id  uuid NOT NULL REFERENCES company (company_id),
  loser       text NOT NULL,
  tenant_id   text NOT NULL,
  survivor    text NOT NULL,
  told_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  filed_at    timestamptz,                      -- NULL: the fleet has not looked at it
  PRIMARY KEY (company_id, loser)
);
SELECT protect('customer_merge', 'SELECT, INSERT, UPDATE', 'SELECT, UPDATE, DELETE');
CREATE INDEX customer_merge_told ON customer_merge (told_at);
CREATE INDEX customer_merge_unfiled ON customer_merge (told_at) WHERE filed_at IS NULL;

-- Where changes are read from can be set before the company's first cycle.
GRANT INSERT ON change_feed TO algasync_api;
