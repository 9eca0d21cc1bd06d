"""Making a statement: read QuickBooks, read the ledger in one snapshot, match; look twice before crying out.

The books move while they are read. What nobody can explain at first sight is therefore read once more by its id,
and the ledger with it: what was only between two pages, or on its way, is gone then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, text

from services.connections import companies
from services.connections.companies import Company
from services.database import Database
from services.database.engine import scope
from services.inbound.reconcile import circumstances, matching, ours, reading, statement, store
from services.inbound.reconcile.circumstances import Circumstances
from services.inbound.reconcile.cost import Cost, Look, patient
from services.inbound.reconcile.items import Item
from services.inbound.reconcile.natives import Horizon
from services.inbound.reconcile.period import Period
from services.inbound.reconcile.reading import Progress, Taken
from services.inbound.reconcile.statement import Statement
from services.mapping import settings
from services.psa.pages import page
from services.quickbooks.errors import QuickBooksError
from services.quickbooks.query import PAGE

PATIENCE: Final = 300
"""Seconds that matching may take between two questions to the database. Nothing is locked meanwhile."""

_UNHURRIED = text("SELECT set_config('idle_in_transaction_session_timeout', :patience, true)")
_HORIZON = text(
    """SELECT coalesce(f.begins_at, c.connected_at) AS begins, coalesce(f.cursor, c.connected_at) AS seen_until
         FROM company c LEFT JOIN change_feed f USING (company_id) WHERE c.company_id = :company"""
)

_log = structlog.get_logger()


def today(connection: Connection, company: Company) -> date:
    """Today where the company keeps its books."""
    wanted = settings.resolve(connection, company.tenant_id, company_id=company.company_id)
    return datetime.now(UTC).astimezone(ZoneInfo(wanted.accounting_time_zone)).date()


def make(
    database: Database,
    look: Look,
    company: Company,
    period: Period,
    cost: Cost,
    *,
    actor: str,
    statement_id: UUID | None = None,
    progress: Progress = lambda *_: None,
    size: int = PAGE,
) -> Statement:
    """Make and keep a statement; `statement_id` is one that `store.start` has begun.

    Errors of the wire pass through, once the statement says that it failed and why.
    """
    tenant = company.tenant_id
    if statement_id is None:
        with database.transaction(tenant) as connection:
            statement_id = store.start(connection, company, period, cost, actor)
    taken = Taken()

    def step(entity: str, rows: int, expected: int) -> None:
        with database.transaction(tenant) as connection:
            store.alive(connection, statement_id, entity, rows, taken.reads + cost.counting)
        progress(entity, rows, expected)

    try:
        look = patient(look)
        reading.read(look, taken, expected=cost.counts, progress=step, size=size)
        made = _made(database, company, period, taken, look)
    except Exception as error:
        with database.transaction(tenant) as connection:
            store.fail(connection, statement_id, _why(error))
        raise
    made.statement_id = statement_id
    made.reads, made.estimated_reads = taken.reads + cost.counting, cost.total
    with database.transaction(tenant) as connection:
        store.finish(connection, company, made, taken.counts)
    _log.info(
        "statement_made",
        company=str(company.company_id),
        statement=str(statement_id),
        unexplained=made.unexplained,
        reads=made.reads,
    )
    return made


def _made(database: Database, company: Company, period: Period, taken: Taken, look: Look) -> Statement:
    items, home = _matched(database, company, taken)
    doubtful = matching.suspicious(items)
    if doubtful:
        reading.again(look, taken, doubtful)
        items, home = _matched(database, company, taken)
    for item in items:
        if item.target is not None:
            item.url = page(company.environment, *item.target)
    return statement.make(
        items,
        period,
        company_id=company.company_id,
        realm_id=company.realm_id,
        company_name=company.name,
        home=home,
        read_at=datetime.now(UTC),
    )


def _matched(database: Database, company: Company, taken: Taken) -> tuple[list[Item], str]:
    with _snapshot(database, company.tenant_id) as connection:
        company = companies.get(connection, company.company_id)
        home = company.home_currency or taken.currency or "USD"
        cutover = settings.resolve(connection, company.tenant_id, company_id=company.company_id).cutover_date
        begins, seen_until = connection.execute(_HORIZON, {"company": company.company_id}).one()

        def around(differing: Iterable[Item]) -> Circumstances:
            return circumstances.load(connection, company, differing)

        items = matching.match(
            ours.load(connection, company),
            taken,
            around,
            Horizon(begins, seen_until, cutover),
            home=home,
            realm_id=company.realm_id,
            today=today(connection, company),
        )
    return items, home


@contextmanager
def _snapshot(database: Database, tenant: str) -> Iterator[Connection]:
    """One moment of the database for all that is read of it; matching a large book takes its time in between."""
    with database.engine.connect() as fresh:
        connection = fresh.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            scope(connection, tenant)
            connection.execute(_UNHURRIED, {"patience": f"{PATIENCE}s"})
            yield connection


def _why(error: Exception) -> str:
    """What went wrong, without a client's name: the errors of the wire carry none."""
    return str(error) if isinstance(error, QuickBooksError) else type(error).__name__
