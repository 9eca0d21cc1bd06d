-- Invoices that were handed over as CSV files for QuickBooks' own import.

CREATE TABLE csv_handover (
  handover_id  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id    text NOT NULL,
  actor        text NOT NULL,
  first_date   date,                            -- the period that was asked for
  last_date    date,
  missing      jsonb NOT NULL DEFAULT '[]',     -- names of billing's own that stand in the files
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX csv_handover_listed ON csv_handover (tenant_id, created_at);
SELECT protect('csv_handover', 'SELECT, INSERT', 'SELECT, INSERT');

-- A file is for one company and one currency; its text stays as it was downloaded.
CREATE TABLE csv_file (
  handover_id  uuid NOT NULL REFERENCES csv_handover,
  number       integer NOT NULL,
  tenant_id    text NOT NULL,
  company_id   uuid,                            -- NULL: no company was connected
  name         text NOT NULL,
  invoices     integer NOT NULL,
  rows         integer NOT NULL,
  content      text NOT NULL,
  PRIMARY KEY (handover_id, number)
);
SELECT protect('csv_file', 'SELECT, INSERT', 'SELECT, INSERT');

-- Held back from export until it is linked, or taken back because the file was not imported.
CREATE TABLE csv_document (
  handover_id    uuid NOT NULL REFERENCES csv_handover,
  tenant_id      text NOT NULL,
  kind           text NOT NULL,
  document_id    text NOT NULL,
  file_number    integer NOT NULL,
  taken_back_at  timestamptz,
  taken_back_by  text,
  reason         text,
  PRIMARY KEY (handover_id, kind, document_id)
);
CREATE UNIQUE INDEX csv_document_standing ON csv_document (tenant_id, kind, document_id) WHERE taken_back_at IS NULL;
SELECT protect('csv_document', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

-- The API hands over, too: it locks the documents as workers do.
GRANT UPDATE (updated_at) ON document TO algasync_api;

ALTER TABLE wait DROP CONSTRAINT wait_condition_check;
ALTER TABLE wait ADD CONSTRAINT wait_condition_check
  CHECK (condition IN ('step', 'link', 'company', 'auto_sync', 'pause', 'csv'));

-- As before, and 'csv': <document kind>/<document id> is not in a CSV file, or it is linked.
CREATE OR REPLACE FUNCTION condition_met(tenant text, wanted text, about text) RETURNS boolean
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
    WHEN 'csv' THEN
      EXISTS (SELECT FROM link l WHERE l.tenant_id = tenant AND l.kind = split_part(about, '/', 1)
                 AND l.document_id = substr(about, strpos(about, '/') + 1))
      OR NOT EXISTS (SELECT FROM csv_document c WHERE c.tenant_id = tenant AND c.kind = split_part(about, '/', 1)
                        AND c.document_id = substr(about, strpos(about, '/') + 1) AND c.taken_back_at IS NULL)
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

-- A link is made for what was handed over: what waited to find it in QuickBooks goes on.
CREATE FUNCTION csv_found() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = algasync, pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM csv_document c WHERE c.tenant_id = NEW.tenant_id AND c.kind = NEW.kind
                AND c.document_id = NEW.document_id AND c.taken_back_at IS NULL) THEN
    PERFORM wait_release(NEW.tenant_id, ARRAY['csv'], ARRAY[NEW.kind || '/' || NEW.document_id]);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER link_of_csv AFTER INSERT ON link FOR EACH ROW WHEN (NEW.kind IN ('invoice', 'credit_note'))
  EXECUTE FUNCTION csv_found();
