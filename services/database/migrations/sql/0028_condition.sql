-- Whether a named condition holds now: as before, one query for each condition instead of one for all of them, of which
-- PostgreSQL had to prepare every branch at every call. Taking asks at every operation.
CREATE OR REPLACE FUNCTION condition_met(tenant text, wanted text, about text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = algasync, pg_catalog AS $$
BEGIN
  CASE wanted
  WHEN 'auto_sync' THEN RETURN EXISTS (
    SELECT FROM setting s WHERE s.tenant_id = tenant AND s.scope = 'tenant' AND s.name = 'auto_sync' AND s.value = 'true');
  WHEN 'step' THEN RETURN NOT EXISTS (
    SELECT FROM operation WHERE operation_id = about::uuid AND finished_at IS NULL);
  WHEN 'link' THEN RETURN  -- <document kind>/<document id>: it is in QuickBooks, or nothing is left to bring it there
    EXISTS (SELECT FROM link l WHERE l.tenant_id = tenant AND l.kind = split_part(about, '/', 1)
               AND l.document_id = substr(about, strpos(about, '/') + 1))
    OR EXISTS (SELECT FROM document d WHERE d.tenant_id = tenant AND d.kind = split_part(about, '/', 1)
                  AND d.document_id = substr(about, strpos(about, '/') + 1) AND d.applied_sequence > 0)
       AND NOT EXISTS (SELECT FROM operation o WHERE o.tenant_id = tenant AND o.document_kind = split_part(about, '/', 1)
                          AND o.document_id = substr(about, strpos(about, '/') + 1)
                          AND o.kind LIKE 'export\_%' AND o.finished_at IS NULL);
  WHEN 'csv' THEN RETURN
    EXISTS (SELECT FROM link l WHERE l.tenant_id = tenant AND l.kind = split_part(about, '/', 1)
               AND l.document_id = substr(about, strpos(about, '/') + 1))
    OR NOT EXISTS (SELECT FROM csv_document c WHERE c.tenant_id = tenant AND c.kind = split_part(about, '/', 1)
                      AND c.document_id = substr(about, strpos(about, '/') + 1) AND c.taken_back_at IS NULL);
  WHEN 'company' THEN RETURN EXISTS (  -- 'default', 'realm:<realm id>' or a company id
    SELECT FROM company c WHERE c.tenant_id = tenant AND c.state = 'active'
       AND CASE WHEN about = 'default' THEN c.is_default
                WHEN about LIKE 'realm:%' THEN c.realm_id = substr(about, 7)
                ELSE c.company_id = about::uuid END);
  WHEN 'pause' THEN RETURN NOT EXISTS (  -- 'fleet', 'tenant', a company id, or <company id>/<kind of operation>
    SELECT FROM pause p WHERE CASE
      WHEN about = 'fleet' THEN p.scope = 'fleet'
      WHEN about = 'tenant' THEN p.scope = 'tenant' AND p.tenant_id = tenant
      WHEN about LIKE '%/%' THEN p.scope = 'kind' AND p.company_id = split_part(about, '/', 1)::uuid
                                 AND p.kind = split_part(about, '/', 2)
      ELSE p.scope = 'company' AND p.company_id = about::uuid END);
  ELSE RETURN NULL;
  END CASE;
END $$;
