-- Who wants its backlog in batches: asked twice a second, and usually nobody.
CREATE INDEX setting_batches ON setting (tenant_id, scope) WHERE name = 'export_batch_size' AND value <> '0';
