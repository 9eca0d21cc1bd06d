"""`/v1/reconciliations`: zero-drift statements. What one costs is known first; it is made while the caller waits for
its state to become finished.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.background import BackgroundTask
from starlette.responses import HTMLResponse, Response

from services.api import lists
from services.api.paging import Page, PageQuery, cursor_of, moment_of, position_of
from services.api.problems import ApiError
from services.api.shapes import Given, Told
from services.api.targets import company_of
from services.api.work import Manager, Reader, Work, entitled
from services.connections.companies import Company
from services.inbound.reconcile import cost, printed, run, store
from services.inbound.reconcile.cost import Cost
from services.inbound.reconcile.items import Class
from services.inbound.reconcile.period import Period

router = APIRouter(prefix="/v1/reconciliations", tags=["Reconciliation"], dependencies=[Depends(entitled)])

_MOST_ITEMS = 100_000
_log = structlog.get_logger()


class CostGiven(Given):
    """Of which company, and whether QuickBooks may be asked."""

    realm_id: str | None = Field(default=None, description="The tenant's default company when absent.")
    count: bool = Field(
        default=False, description="Count in QuickBooks, five metered reads, if nothing is known."
    )


class CostTold(BaseModel):
    """What a statement would cost in metered reads."""

    reads: int | None = Field(description="Null: nothing is known, and counting was not allowed.")
    counting: int = Field(description="Reads spent to know it.")
    basis: str = Field(description="last_statement, counted or unknown.")
    counts: dict[str, int] = Field(description="Rows by entity.")


class StatementGiven(Given):
    """Which statement: a period, or from and to; everything through today when neither is given."""

    realm_id: str | None = Field(default=None, description="The tenant's default company when absent.")
    period: str | None = Field(default=None, examples=["2026-10", "2026-Q4", "2026"])
    first: date | None = Field(default=None, alias="from")
    last: date | None = Field(default=None, alias="to")
    max_reads: int | None = Field(default=None, ge=0, description="Refuse it if it would cost more.")


class StatementTold(Told):
    """A statement; `result` has totals and counts of every class once it is finished."""

    statement_id: UUID
    company_id: UUID
    state: str = Field(description="running, finished, failed or interrupted.")
    begins: date | None
    ends: date
    started_by: str
    started_at: datetime
    finished_at: datetime | None
    reason: str | None = Field(description="Why it failed.")
    estimated_reads: int
    reads: int = Field(description="Metered reads so far, at the end of it exact.")
    progress: dict[str, int] = Field(description="Rows read, by entity.")
    unexplained: int | None
    result: dict[str, Any] | None


class StatementQuery(PageQuery):
    """Which statements."""

    realm_id: str | None = Field(default=None, max_length=100)


class ItemQuery(PageQuery):
    """Which items."""

    class_: list[Class] | None = Field(default=None, alias="class")


class AcceptGiven(Given):
    """An item that may differ as it does."""

    item: str = Field(min_length=1, max_length=500, examples=["Invoice:71"])
    reason: str = Field(min_length=1, max_length=500)


@router.post("/cost", response_model=CostTold)
def tell_cost(given: CostGiven, work: Manager) -> CostTold:
    """Tell what a statement would cost. Free if one was made before; else five reads, if `count` allows them."""
    company = _company(work, given.realm_id)
    known = _cost(work, company, may_ask=given.count)
    if known is None:
        return CostTold(reads=None, counting=0, basis="unknown", counts={})
    return CostTold(reads=known.reads, counting=known.counting, basis=known.basis, counts=dict(known.counts))


@router.post("", response_model=StatementTold, status_code=202)
def start(given: StatementGiven, work: Manager) -> Response:
    """Start a statement. Its cost is known before: stored, or counted with five metered reads."""
    company = _company(work, given.realm_id)
    with work.transaction() as connection:
        period = _period(connection, company, given)
    expected = _cost(work, company, may_ask=True)
    assert expected is not None
    if given.max_reads is not None and expected.reads > given.max_reads:
        raise ApiError(
            409,
            "too_many_reads",
            f"it would take {expected.reads} metered reads, and max_reads allows {given.max_reads}",
            field="max_reads",
        )
    begun: list[UUID] = []

    def act(connection: Connection) -> StatementTold:
        begun.append(store.start(connection, company, period, expected, work.caller.actor))
        return StatementTold.model_validate(store.get(connection, begun[0]))

    answer = work.once(act, 202)
    if begun:
        answer.background = BackgroundTask(_make, work, company, period, expected, begun[0])
    return answer


@router.get("", response_model=Page[StatementTold])
def list_statements(query: Annotated[StatementQuery, Query()], work: Reader) -> Page[StatementTold]:
    """List statements, the newest first."""
    with work.transaction() as connection:
        company = company_of(work, connection, query.realm_id) if query.realm_id is not None else None
        found = store.page(
            connection,
            work.tenant,
            company_id=company.company_id if company else None,
            after=moment_of(query.cursor),
            limit=query.limit,
        )
    last = found[-1] if len(found) == query.limit else None
    return Page(
        data=[StatementTold.model_validate(one) for one in found],
        next_cursor=cursor_of((last.started_at, last.statement_id) if last else None),
    )


@router.get("/{statement_id}", response_model=StatementTold)
def show_statement(statement_id: UUID, work: Reader) -> StatementTold:
    """Show one statement; ask again while it is running."""
    with work.transaction() as connection:
        return StatementTold.model_validate(store.get(connection, statement_id))


@router.get("/{statement_id}/items", response_model=Page[dict[str, Any]])
def list_items(
    statement_id: UUID, query: Annotated[ItemQuery, Query()], work: Reader
) -> Page[dict[str, Any]]:
    """List what is not the same in both books, unexplained items last, each with why."""
    with work.transaction() as connection:
        store.get(connection, statement_id)
        found = store.items(
            connection,
            statement_id,
            classes=list(query.class_) if query.class_ is not None else None,
            after=position_of(query.cursor),
            limit=query.limit,
        )
    last = found[-1][0] if len(found) == query.limit else None
    return Page(
        data=[item for _, item in found], next_cursor=cursor_of((last,) if last is not None else None)
    )


@router.get("/{statement_id}/page", response_class=HTMLResponse)
def print_statement(statement_id: UUID, work: Reader) -> HTMLResponse:
    """Show a finished statement as a page to read and print; it loads nothing from anywhere."""
    with work.transaction() as connection:
        kept = store.get(connection, statement_id)
        if kept.result is None:
            raise ApiError(
                409, "not_finished", f"the statement is {kept.state}; there is nothing to print yet"
            )
        items = [item for _, item in store.items(connection, statement_id, limit=_MOST_ITEMS)]
    return HTMLResponse(printed.page({**kept.result, "items": items}))


@router.post("/{statement_id}/accept", response_model=StatementTold)
def accept_item(statement_id: UUID, given: AcceptGiven, work: Manager) -> Response:
    """Accept that an unexplained item differs just as it does; the next statement says so."""

    def act(connection: Connection) -> StatementTold:
        store.accept(connection, statement_id, given.item, actor=work.caller.actor, reason=given.reason)
        return StatementTold.model_validate(store.get(connection, statement_id))

    return work.once(act)


def _company(work: Work, realm_id: str | None) -> Company:
    with work.transaction() as connection:
        return company_of(work, connection, realm_id)


def _period(connection: Connection, company: Company, given: StatementGiven) -> Period:
    if given.period is not None:
        if given.first is not None or given.last is not None:
            raise ApiError(422, "invalid_value", "give period, or from and to", field="period")
        return Period.of(given.period)
    return Period.between(given.first, given.last or run.today(connection, company))


def _cost(work: Work, company: Company, *, may_ask: bool) -> Cost | None:
    with work.transaction() as connection:
        known = cost.known(connection, company.company_id)
    if known is not None or not may_ask:
        return known
    with lists.clients(work) as clients:
        return cost.ask(lambda call: clients.look(company.company_id, call))


def _make(work: Work, company: Company, period: Period, expected: Cost, statement_id: UUID) -> None:
    """Make the statement after the answer is sent; if that fails, the statement says so."""
    try:
        with lists.clients(work) as clients:
            run.make(
                work.context.database,
                lambda call: clients.look(company.company_id, call),
                company,
                period,
                expected,
                actor=work.caller.actor,
                statement_id=statement_id,
            )
    except Exception:
        _log.exception("statement_failed", statement=str(statement_id))
