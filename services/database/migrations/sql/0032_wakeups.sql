-- Waking, as before, with the operations locked before their waits are counted: two that release one condition each of
-- the same operation at the same moment both saw the other's, and nobody woke it.
CREATE OR REPLACE FUNCTION wait_release(tenant text, wanted text[], about text[], chosen uuid DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql SET search_path = algasync, pg_catalog AS $$
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
  -- The next statement sees what whoever held these rows has committed.
  PERFORM FROM operation WHERE operation_id = ANY (freed) ORDER BY operation_id FOR UPDATE;
  UPDATE operation SET company_id = chosen
   WHERE operation_id = ANY (freed) AND company_id IS NULL AND chosen IS NOT NULL;
  UPDATE operation o SET state = 'queued', due_at = clock_timestamp(), dispatched_at = NULL, reason_code = NULL,
         reason = NULL, updated_at = clock_timestamp()
   WHERE o.operation_id = ANY (freed) AND o.state = 'waiting' AND o.company_id IS NOT NULL
     AND NOT EXISTS (SELECT FROM wait w WHERE w.operation_id = o.operation_id);
  GET DIAGNOSTICS woken = ROW_COUNT;
  RETURN woken;
END $$;
