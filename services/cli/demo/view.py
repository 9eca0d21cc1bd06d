"""The live view of the demonstration, and the same in plain lines without a terminal."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from sqlalchemy import text

from services.database import Database
from services.ledger import operations

_OUTBOX = text(
    """SELECT count(*) FILTER (WHERE published_at IS NULL) AS waiting,
              count(*) FILTER (WHERE published_at IS NOT NULL) AS published
         FROM outbox_event WHERE tenant_id = :tenant AND exchange = 'billing'"""
)
_ARRIVED = text(
    """SELECT l.number, d.client_name, l.total, l.currency, l.created_at FROM link l
         JOIN document d ON (d.tenant_id, d.kind, d.document_id) = (l.tenant_id, l.kind, l.document_id)
        WHERE l.tenant_id = :tenant ORDER BY l.link_id DESC LIMIT 8"""
)
_COUNTS = text(
    """SELECT (SELECT count(*) FROM event WHERE tenant_id = :tenant) AS events,
              (SELECT count(*) FROM link WHERE tenant_id = :tenant AND kind = 'invoice') AS links"""
)
_EXCEPTIONS = text(
    """SELECT title, happened, code FROM exception
        WHERE tenant_id = :tenant AND state IN ('open', 'in_progress') ORDER BY created_at DESC LIMIT 4"""
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where everything stands, as one transaction saw it."""

    outbox_waiting: int
    outbox_published: int
    events: int
    links: int
    by_state: dict[str, int]
    arrived: list[tuple[str, str, str]]  # number, client, amount
    exceptions: list[tuple[str, str, str]] = field(default_factory=list)  # title, happened, code

    @property
    def line(self) -> str:
        """The same in one plain line."""
        states = ", ".join(f"{state} {count}" for state, count in self.by_state.items() if count)
        return (
            f"events {self.events} | operations: {states or 'none'} | in QuickBooks {self.links}"
            f" | exceptions {len(self.exceptions)}"
        )


def look(database: Database, tenant: str) -> Snapshot:
    """Take a snapshot of one tenant."""
    values = {"tenant": tenant}
    with database.transaction(tenant) as connection:
        outbox = connection.execute(_OUTBOX, values).one()
        counts = connection.execute(_COUNTS, values).one()
        return Snapshot(
            outbox.waiting,
            outbox.published,
            counts.events,
            counts.links,
            operations.counts(connection),
            [
                (row.number or "", row.client_name or "", f"{row.total} {row.currency}")
                for row in connection.execute(_ARRIVED, values)
            ],
            [tuple(row) for row in connection.execute(_EXCEPTIONS, values)],
        )


def render(snapshot: Snapshot, expected: int, headline: str) -> RenderableType:
    """The view for a terminal of 80 columns or more."""
    flow = Table.grid(padding=(0, 2))
    flow.add_row("outbox", f"{snapshot.outbox_waiting} to publish, {snapshot.outbox_published} on the way")
    flow.add_row("events taken over", str(snapshot.events))
    for state, count in snapshot.by_state.items():
        if count or state in {"queued", "running", "succeeded", "failed"}:
            flow.add_row(f"operations {state}", str(count))
    arrived = Table(expand=True, box=None)
    for name in ("number", "client", "amount"):
        arrived.add_column(name, overflow="ellipsis", no_wrap=True)
    for row in snapshot.arrived:
        arrived.add_row(*(Text(cell) for cell in row))
    parts: list[RenderableType] = [
        Text(headline, style="bold"),
        Panel(flow, title="flow", border_style="cyan"),
        ProgressBar(total=max(expected, 1), completed=snapshot.links),
        Panel(arrived, title=f"arrived in QuickBooks: {snapshot.links} of {expected}", border_style="green"),
    ]
    for title, happened, _ in snapshot.exceptions:
        body = Text(title, style="bold")
        body.append(f"\n{happened}", style="default")
        parts.append(Panel(body, title="needs a person", border_style="red"))
    return Group(*parts)
