-- Payments and credit wait for the earlier steps that take something off their invoices: few, whatever the backlog of
-- first exports.
CREATE INDEX operation_changing ON operation (tenant_id)
  WHERE revision > 1 AND state IN ('queued', 'running', 'waiting', 'scheduled');
