"""Intuit's webhooks arrive: events that are new wake their companies, in one short transaction.

Nothing is read from a notice but which company to look at. The change feed tells what happened, also when a notice
was lost: Intuit does not guarantee them. https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from prometheus_client import Counter
from pydantic import SecretStr
from sqlalchemy import Connection, text

from services.connections import companies, facts
from services.connections.companies import Company
from services.database import Database
from services.database.engine import scope
from services.quickbooks import webhooks
from services.quickbooks.webhooks import Event

NO_TENANT: Final = ""
"""Scope in which nobody's rows are seen, until an event has told whose company it is about."""

WITHIN: Final = "2s"
"""How long a statement may take: Intuit waits three seconds, and repeats what we could not store."""

KEPT: Final = timedelta(days=7)
"""How long a repeated event is recognised; one that comes later costs a look at the change feed."""

BATCH: Final = 5000
REJECTED_LOGGED: Final = 5

_EVENTS = Counter(
    "algasync_webhook_events", "Events of Intuit's webhooks by what became of them.", ["outcome"]
)
_HASTE = text("SELECT set_config('statement_timeout', :within, true)")
_TAKE = text(
    """SELECT place, company_id, tenant_id, fresh FROM webhook_events_take_v1(
         :environment, CAST(:realms AS text[]), CAST(:hashes AS bytea[]))"""
)
_MERGED = text(
    """INSERT INTO customer_merge (company_id, tenant_id, loser, survivor) VALUES (:company, :tenant, :loser, :survivor)
       ON CONFLICT (company_id, loser) DO UPDATE
          SET survivor = excluded.survivor, told_at = excluded.told_at, filed_at = NULL"""
)
_MERGES = text(
    """UPDATE customer_merge SET filed_at = clock_timestamp() WHERE (company_id, loser) IN (
         SELECT company_id, loser FROM customer_merge WHERE filed_at IS NULL
          ORDER BY told_at LIMIT :limit FOR UPDATE SKIP LOCKED)
       RETURNING company_id, loser"""
)
_SURVIVOR = text("SELECT survivor FROM customer_merge WHERE company_id = :company AND loser = :loser")
_FORGET_MERGES = text(
    "DELETE FROM customer_merge WHERE told_at < statement_timestamp() - CAST(:kept AS interval)"
)
_FORGET = text(
    """DELETE FROM webhook_event WHERE (company_id, event_hash) IN (
         SELECT company_id, event_hash FROM webhook_event
          WHERE seen_at < statement_timestamp() - CAST(:kept AS interval) ORDER BY seen_at LIMIT :batch)"""
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a post's events, and how many companies were woken."""

    new: int
    repeated: int
    unknown: int  # of a company that is not connected here
    unreadable: int
    companies: int


def signed(raw: bytes, signature: str | None, verifier_tokens: Sequence[SecretStr]) -> bool:
    """Whether Intuit signed these bytes with one of the tokens."""
    return any(webhooks.verified(raw, signature, token.get_secret_value()) for token in verifier_tokens)


def take(
    database: Database,
    environment: str,
    raw: bytes,
    *,
    polled: Collection[str],
    wake: Callable[[Connection, UUID], object],
) -> Taken:
    """Store which events were seen and wake the companies of new ones; all of it or, when it raises, nothing.

    Only news of `polled` entities wakes, because looking is metered. Never raises for what a post says: an event that
    cannot be read, or is nobody's, is counted and left. Raises SQLAlchemy's OperationalError when the database does
    not answer in time.
    """
    post = webhooks.parse(raw)
    for sentence in post.rejected[:REJECTED_LOGGED]:
        _log.warning("webhook_event_unreadable", place=sentence.partition(":")[0])
    # A post may hold the same event twice.
    events = list({(event.realm, event.event_id): event for event in post.events}.values())
    new, woken = 0, set[UUID]()
    with database.transaction(NO_TENANT) as connection:
        connection.execute(_HASTE, {"within": WITHIN})
        rows = connection.execute(_TAKE, _values(environment, events)).all() if events else []
        for row in rows:
            if not row.fresh:
                continue
            new += 1
            event = events[row.place - 1]
            scope(connection, row.tenant_id)
            if event.entity == "Customer" and event.deleted_id is not None and _storable(event):
                connection.execute(_MERGED, _merge(row, event))
            if event.entity == "Preferences":
                facts.outdated(connection, row.company_id)
            elif event.entity in polled and row.company_id not in woken:
                wake(connection, row.company_id)
                woken.add(row.company_id)
    unknown = len(events) - len(rows)
    taken = Taken(new, len(post.events) - new - unknown, unknown, len(post.rejected), len(woken))
    for outcome in ("new", "repeated", "unknown", "unreadable"):
        _EVENTS.labels(outcome).inc(getattr(taken, outcome))
    return taken


def forget(connection: Connection) -> int:
    """Drop events and merges told longer ago than `KEPT` (scope: all tenants), a batch; returns how many events."""
    connection.execute(_FORGET_MERGES, {"kept": KEPT})
    return connection.execute(_FORGET, {"kept": KEPT, "batch": BATCH}).rowcount


def file_merges(
    connection: Connection, merged: Callable[[Connection, Company, str], object], *, limit: int = 100
) -> int:
    """Hand over company and id of customers that went into others (scope: all tenants); returns how many."""
    told = connection.execute(_MERGES, {"limit": limit}).all()
    for row in told:
        merged(connection, companies.get(connection, row.company_id), row.loser)
    return len(told)


def survivor(connection: Connection, company_id: UUID, loser: str) -> str | None:
    """The customer that a vanished one was merged into; None when no webhook told.

    Nothing that can be read at QuickBooks says it.
    """
    found = connection.execute(_SURVIVOR, {"company": company_id, "loser": loser}).scalar()
    return None if found is None else str(found)


def _merge(row: Any, event: Event) -> dict[str, object]:
    ids = {"loser": event.deleted_id, "survivor": event.id}
    return {"company": row.company_id, "tenant": row.tenant_id, **ids}


def _storable(event: Event) -> bool:
    """Whether PostgreSQL can hold the ids: what it cannot, QuickBooks never had."""
    return all(one.isascii() and one.isprintable() for one in (event.id, event.deleted_id or ""))


def _values(environment: str, events: Sequence[Event]) -> dict[str, object]:
    # Realms are digits; one that PostgreSQL could not even hold is made one that nobody has.
    return {
        "environment": environment,
        "realms": [one.realm if one.realm.isascii() and one.realm.isprintable() else "" for one in events],
        "hashes": [hashlib.sha256(one.event_id.encode(errors="surrogatepass")).digest() for one in events],
    }
