"""A crowd: a database in which much has happened and much is under way, made by set-based inserts.

A table grows with what is done (documents, events, links, timelines, the feed) and with what is not (an outbox that no
relay has emptied, operations that are queued, wait, or have failed). Half of everything belongs to one tenant: its
lists are the longest. What is old is older than anything that retention keeps, but for what it keeps for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

if TYPE_CHECKING:
    from services.database import Database

GROWING: Final = (
    "event",
    "document",
    "operation",
    "link",
    "timeline",
    "timeline_head",
    "document_sequence",
    "outbox_event",
    "exception",
    "letter",
    "wait",
    "quickbooks_change",
    "quickbooks_object",
    "poll_cycle",
)
"""Tables that grow with the work; the feed grows too, in partitions by day."""

_FILL: Final = """
    SET LOCAL ROLE algasync_owner;
    SET LOCAL search_path TO algasync, pg_catalog;
    ALTER TABLE link DISABLE TRIGGER USER;
    INSERT INTO company (company_id, tenant_id, environment, realm_id, state, is_default, connected_by)
    SELECT lpad(to_hex(n), 32, '0')::uuid, 't-' || n, 'sandbox', 'realm-' || n, 'active', true, 'bench'
      FROM generate_series(1, {companies} - 1) AS n ON CONFLICT DO NOTHING;
    INSERT INTO company_limiter (company_id, tenant_id)
    SELECT company_id, tenant_id FROM company ON CONFLICT DO NOTHING;
    INSERT INTO setting (tenant_id, scope, name, value, updated_by)
    SELECT tenant_id, 'tenant', 'auto_sync', 'true', 'bench' FROM company ON CONFLICT DO NOTHING;
    INSERT INTO change_feed (company_id, tenant_id, begins_at, cursor, due_at)
    SELECT company_id, tenant_id, now(), now(), now() + interval '1 hour' FROM company ON CONFLICT DO NOTHING;
    CREATE TEMPORARY TABLE many ON COMMIT DROP AS
    SELECT n, i % 50 AS fate, 'inv-' || n AS document_id, clock_timestamp() - (i % 800) * interval '1 day' AS at,
           CASE WHEN c = 0 THEN '{tenant}' ELSE 't-' || c END AS tenant_id,
           CASE WHEN c = 0 THEN '{company_id}'::uuid ELSE lpad(to_hex(c), 32, '0')::uuid END AS company_id,
           lpad(to_hex(n), 32, '0')::uuid AS operation_id
      FROM (SELECT n, CASE WHEN n % 2 = 0 THEN 0 ELSE n / 2 % {companies} END AS c,
                   CASE WHEN n % 2 = 0 THEN n / 2 ELSE n / 2 / {companies} END AS i
              FROM generate_series({first}, {last} - 1) AS n) AS numbered;
    INSERT INTO document (tenant_id, kind, document_id, number, client_id, state, applied_sequence, data)
    SELECT tenant_id, 'invoice', document_id, upper(document_id), 'cl-' || n % 500, 'finalized', 1, '{{}}' FROM many;
    INSERT INTO document_sequence SELECT tenant_id, 'billing', 'invoice', document_id, 1 FROM many;
    INSERT INTO event (event_id, tenant_id, type, document_kind, document_id, sequence, data, occurred_at, state,
                       received_at)
    SELECT gen_random_uuid(), tenant_id, 'invoice.finalized.v1', 'invoice', document_id, 1, '{{}}', at, 'applied', at
      FROM many;
    INSERT INTO operation (operation_id, tenant_id, company_id, kind, queue, document_kind, document_id, revision,
                           state, created_at, updated_at, finished_at, reason_code)
    SELECT operation_id, tenant_id, company_id, 'export_invoice', 'export', 'invoice', document_id, 1,
           CASE fate WHEN 0 THEN 'queued' WHEN 1 THEN 'waiting' WHEN 2 THEN 'failed' ELSE 'succeeded' END,
           moment, moment, CASE WHEN fate > 2 THEN moment END, CASE fate WHEN 2 THEN 'missing_item_mapping' END
      FROM many CROSS JOIN LATERAL (SELECT greatest(at, clock_timestamp() - interval '390 days') AS moment) AS kept;
    INSERT INTO wait (operation_id, tenant_id, condition, key)
    SELECT operation_id, tenant_id, 'link', 'invoice/later-' || n FROM many WHERE fate = 1;
    INSERT INTO exception (exception_id, tenant_id, type, entity_kind, entity_id, company_id, state, cause, code, title,
                           happened, why, fix, operation_id, amount, currency, closed_at)
    SELECT operation_id, tenant_id, 'accounting_sync_export_error', 'invoice', document_id, company_id,
           CASE fate WHEN 2 THEN 'open' ELSE 'resolved' END, 'mapping:item:x:' || n % 20, 'missing_item_mapping', 't',
           'h', 'w', 'f', operation_id, n, 'USD', CASE WHEN fate > 2 THEN clock_timestamp() END
      FROM many WHERE fate BETWEEN 2 AND 9;
    INSERT INTO letter (letter_id, tenant_id, subject, queue, type, reason, code, message, body, operation_id,
                        exception_id, company_id, state, closed_at)
    SELECT operation_id, tenant_id, operation_id::text, 'export', 'export_invoice', 'rejected', 'missing_item_mapping',
           'm', '{{}}', operation_id, operation_id, company_id, CASE fate WHEN 2 THEN 'open' ELSE 'resolved' END,
           CASE WHEN fate > 2 THEN clock_timestamp() END
      FROM many WHERE fate BETWEEN 2 AND 9;
    INSERT INTO link (tenant_id, company_id, kind, document_id, external_type, external_id, sync_token, snapshot)
    SELECT tenant_id, company_id, 'invoice', document_id, 'Invoice', 'x' || n, '0', '{{}}' FROM many WHERE fate > 2;
    INSERT INTO timeline_head SELECT tenant_id, 'invoice', document_id, 1, '\\x' FROM many;
    INSERT INTO timeline SELECT tenant_id, 'invoice', document_id, 1, at, 'billing', 'opened', '{{}}', '\\x', '\\x'
      FROM many;
    INSERT INTO quickbooks_change (change_id, tenant_id, company_id, entity, external_id, version, deleted, body,
                                  seen_at)
    OVERRIDING SYSTEM VALUE
    SELECT 1000000000 + n, tenant_id, company_id, 'Payment', 'p' || n, 1, false, '{{}}', at FROM many WHERE fate < 25;
    INSERT INTO quickbooks_object (company_id, entity, external_id, tenant_id, version, change_id, sync_token, deleted)
    SELECT company_id, 'Payment', 'p' || n, tenant_id, 1, 1000000000 + n, '0', false FROM many WHERE fate < 25;
    INSERT INTO poll_cycle (company_id, number, tenant_id, operation_id, cause, state, cursor_before, asked_from,
                            outcomes, finished_at)
    SELECT company_id, 1000000 + n, tenant_id, operation_id, 'schedule', 'complete', at, at, '{{"new": 1}}',
           greatest(at, clock_timestamp() - interval '390 days') FROM many WHERE fate < 25;
    INSERT INTO accounting_event (position, tenant_id, event_id, type, subject, sequence, body)
    SELECT nextval('accounting_event_position'), tenant_id, gen_random_uuid(), 'document.synced.v1', document_id, 1,
           '{{}}' FROM many;
    INSERT INTO outbox_event (event_id, tenant_id, exchange, type, document_kind, subject, sequence, body, due_at,
                              published_at)
    SELECT gen_random_uuid(), tenant_id, 'billing', 'invoice.finalized.v1', 'invoice', document_id, k, '{{}}',
           CASE WHEN sent THEN now() + interval '1 hour' END, CASE WHEN sent THEN now() END
      FROM many CROSS JOIN generate_series(1, 2) AS k CROSS JOIN LATERAL (SELECT k = 2 AND n % 10 = 1 AS sent) AS how;
    ALTER TABLE link ENABLE TRIGGER USER;
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is: as many documents, events, operations; twice as many rows in the outbox."""

    operations: int
    companies: int


def fill(database: Database, tenant: str, company_id: UUID, before: Size, size: Size) -> None:
    """Grow the crowd from `before` to `size`; every second row is the tenant's, whose company is connected.

    No trigger fires for the links: nobody waits for them.
    """
    import psycopg

    values = {
        "first": before.operations,
        "last": size.operations,
        "companies": size.companies,
        "tenant": tenant,
        "company_id": company_id,
    }
    with psycopg.connect(database.url, autocommit=True) as session:
        with session.transaction():
            for statement in _FILL.format(**values).split(";"):
                if statement.strip():
                    session.execute(cast(Any, statement))
        # What autovacuum does within minutes: visibility and statistics.
        session.execute("VACUUM ANALYZE")
