"""`/v1/onboarding`: the reconciliation wizard, step by step, as a screen of the PSA drives it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from services.api import lists, wizard
from services.api.routers.readiness import StepTold
from services.api.shapes import Given, Told
from services.api.targets import company_of
from services.api.wizard import Linked, MatchQuery
from services.api.work import Manager, Reader, entitled
from services.onboarding import creation, customer_matches, customers, golive, handover, reading, runs, undo
from services.onboarding.runs import Run
from services.outbound.handlers import HANDLERS

router = APIRouter(prefix="/v1/onboarding", tags=["Wizard"], dependencies=[Depends(entitled)])


class ListsGiven(Given):
    """The PSA's lists, whole or in parts. What is listed again replaces what was said before."""

    clients: list[dict[str, Any]] = Field(
        default=[], description="id, name, kind, parent_id, currency, email."
    )
    documents: list[dict[str, Any]] = Field(
        default=[], description="id, number, date, total (minor units), currency, client_id, state, kind."
    )
    services: list[dict[str, Any]] = Field(default=[], description="id, name, sku, kind, active.")


class ListsTaken(BaseModel):
    """How many rows of each list were taken over."""

    clients: int
    documents: int
    services: int


class Whose(Given):
    """Of which company."""

    realm_id: str | None = Field(default=None, description="The company; the tenant's default when left out.")


class ReadingTold(Told):
    """How far one list of the company is read."""

    entity: str
    expected: int
    taken: int
    pages: int
    done: bool


class RunTold(Told):
    """One run of the wizard."""

    run_id: UUID
    company_id: UUID
    state: Literal["open", "finished", "undone"]
    started_by: str
    started_at: datetime
    ended_at: datetime | None
    readings: list[ReadingTold] = Field(default=[], description="Empty until it was read, and after its end.")
    did: dict[str, int] = Field(default={}, description='What it did, e.g. {"linked invoice": 812}.')


class RunsTold(BaseModel):
    """The runs of a company, newest first."""

    data: list[RunTold]


class ReadGiven(Given):
    """How long to read."""

    seconds: float = Field(default=10, gt=0, le=60, description="Then answer; ask again until done.")
    refresh: bool = Field(default=False, description="Forget what was read, and read it again.")


class ReadTold(BaseModel):
    """How far it is."""

    done: bool
    readings: list[ReadingTold]


class CandidateTold(Told):
    """A customer that may be meant, and why."""

    id: str
    name: str
    score: float
    evidence: str
    active: bool


class ClientTold(Told):
    """A client or billing profile of the PSA."""

    kind: str
    id: str
    name: str
    currency: str
    parent_id: str


class CustomerMatch(Told):
    """What is known of one client."""

    client: ClientTold
    status: Literal["linked", "exact", "suggested", "unmatched"]
    why: str
    candidates: list[CandidateTold]


class CustomerMatches(BaseModel):
    """One page of clients, and how many there are of each status in all."""

    counts: dict[str, int]
    data: list[CustomerMatch]
    next_cursor: str | None


class ClientGiven(Given):
    """Which client is meant."""

    kind: Literal["client", "billing_profile"] = "client"
    client_id: str
    currency: str = Field(default="", description="Where the list names one.")

    @property
    def at(self) -> tuple[str, str, str]:
        """Its place among clients."""
        return (self.kind, self.client_id, self.currency)


class LinkGiven(ClientGiven):
    """Which customer it is."""

    customer_id: str


class CreateGiven(ClientGiven):
    """A customer to be created in QuickBooks."""

    display_name: str = Field(default="", max_length=500, description="Default is the client's name.")


class CustomerTold(BaseModel):
    """The customer that a client is linked to now."""

    customer_id: str


class CutoverQuery(Given):
    """From which day on documents are ours."""

    cutover: date
    limit: int = Field(default=200, ge=1, le=1000)


class WaitingTold(Told):
    """Documents that wait, of one kind and currency, on one side of the cutover."""

    currency: str
    kind: str
    before_cutover: bool
    documents: int
    total: int = Field(description="Minor units.")
    oldest: date | None
    newest: date | None


class DryRunTold(BaseModel):
    """What waits, and what the first sync would do with each document."""

    waiting: list[WaitingTold]
    counts: dict[str, int]
    steps: list[StepTold]


class GoLiveGiven(Given):
    """The last step."""

    cutover: date = Field(description="Invoices and credit notes dated before it are history.")
    waiting: Literal["export", "handled"] = Field(description="What becomes of what waits.")
    auto_sync: bool = Field(description="Switch automatic sync on; false leaves the switch as it is.")


class GoneLive(BaseModel):
    """The run is finished."""

    handled: int = Field(description="Documents that were marked as handled.")


class UndoneTold(Told):
    """What went back, and what stays with the reason."""

    undone: dict[str, int]
    kept: list[str]


@router.post("/lists", response_model=ListsTaken)
def hand_over(given: ListsGiven, work: Manager) -> Response:
    """Hand over clients, documents and services. A list with a bad row is refused, naming row and field."""

    def act(connection: Connection) -> ListsTaken:
        return ListsTaken(
            clients=handover.put_clients(connection, work.tenant, given.clients),
            documents=handover.put_documents(connection, work.tenant, given.documents),
            services=handover.put_services(connection, work.tenant, given.services),
        )

    return work.once(act)


@router.post("/runs", response_model=RunTold)
def start(given: Whose, work: Manager) -> Response:
    """Take the company's open run up, or open one."""

    def act(connection: Connection) -> RunTold:
        company_id = company_of(work, connection, given.realm_id).company_id
        return _told(connection, runs.start(connection, work.tenant, company_id, work.caller.actor))

    return work.once(act)


@router.get("/runs", response_model=RunsTold)
def list_runs(query: Annotated[Whose, Query()], work: Reader) -> RunsTold:
    """List the runs of a company."""
    with work.transaction() as connection:
        company_id = company_of(work, connection, query.realm_id).company_id
        found = runs.listed(connection, work.tenant, company_id)
        return RunsTold(data=[_told(connection, run) for run in found])


@router.get("/runs/{run_id}", response_model=RunTold)
def show_run(run_id: UUID, work: Reader) -> RunTold:
    """Show how far a run is."""
    with work.transaction() as connection:
        return _told(connection, runs.get(connection, run_id))


@router.post("/runs/{run_id}/read", response_model=ReadTold)
def read(run_id: UUID, given: ReadGiven, work: Manager) -> Response:
    """Read customers, invoices and credit memos, and answer after some seconds; ask again until it is done.

    What was read stays, so a browser that was closed goes on where it was.
    """
    with work.transaction() as connection:
        run = runs.refresh(connection, run_id) if given.refresh else runs.opened(connection, run_id)
    with lists.clients(work) as clients:
        creation.settle(
            work.context.database, clients, run, actor=work.caller.actor, on_mapping_set=wizard.hook(work)
        )
        done = reading.read(work.context.database, clients, run, seconds=given.seconds)
    with work.transaction() as connection:
        found = runs.readings(connection, run_id).values()
    told = ReadTold(done=done, readings=[ReadingTold.model_validate(one) for one in found])
    return _json(told)


@router.get("/runs/{run_id}/customers", response_model=CustomerMatches)
def list_customers(run_id: UUID, query: Annotated[MatchQuery, Query()], work: Reader) -> CustomerMatches:
    """Which client is which customer: exact, suggested with evidence, unmatched or linked, each with a sentence."""
    plan = customers.plan(work.context.database, wizard.opened(work, run_id))
    shown, cursor = wizard.page(plan, query, lambda one: one.client.at, lambda one: one.status)
    return CustomerMatches(
        counts=customer_matches.count(plan),
        data=[CustomerMatch.model_validate(one) for one in shown],
        next_cursor=cursor,
    )


@router.post("/runs/{run_id}/customers/accept-exact", response_model=Linked)
def accept_exact(run_id: UUID, work: Manager) -> Response:
    """Link every exact match; repeating it links nothing twice."""
    run = wizard.opened(work, run_id)
    linked = customers.accept_exact(
        work.context.database, run, actor=work.caller.actor, on_mapping_set=wizard.hook(work)
    )
    return _json(Linked(linked=linked))


@router.post("/runs/{run_id}/customers/link", response_model=CustomerTold)
def link_customer(run_id: UUID, given: LinkGiven, work: Manager) -> Response:
    """Link one client to the customer that a person chose."""

    def act(connection: Connection) -> CustomerTold:
        customers.link(
            connection,
            runs.opened(connection, run_id),
            given.at,
            given.customer_id,
            actor=work.caller.actor,
            on_mapping_set=wizard.hook(work),
        )
        return CustomerTold(customer_id=given.customer_id)

    return work.once(act)


@router.post("/runs/{run_id}/customers/create", response_model=CustomerTold)
def create_customer(run_id: UUID, given: CreateGiven, work: Manager) -> Response:
    """Create a client's customer (a billing profile's sub-customer) in QuickBooks and link it.

    The one thing of the wizard that writes there. Repeating it creates nothing twice.
    """
    run = wizard.opened(work, run_id)
    with lists.clients(work) as clients:
        made = creation.create(
            work.context.database,
            clients,
            run,
            given.at,
            actor=work.caller.actor,
            on_mapping_set=wizard.hook(work),
            display_name=given.display_name,
        )
    return _json(CustomerTold(customer_id=made))


@router.get("/runs/{run_id}/go-live", response_model=DryRunTold)
def dry_run(run_id: UUID, query: Annotated[CutoverQuery, Query()], work: Reader) -> DryRunTold:
    """Count and sum what waits, and say what the first sync would do with each document. Changes nothing."""
    run = wizard.opened(work, run_id)
    with work.transaction() as connection:
        waiting = golive.waiting(connection, run, HANDLERS, query.cutover)
        steps = golive.dry_run(connection, run, HANDLERS, query.cutover, limit=query.limit)
    return DryRunTold(
        waiting=[WaitingTold.model_validate(one) for one in waiting],
        counts=golive.count(steps),
        steps=[StepTold.model_validate(one) for one in steps],
    )


@router.post("/runs/{run_id}/go-live", response_model=GoneLive)
def go_live(run_id: UUID, given: GoLiveGiven, work: Manager) -> Response:
    """Settle what waits as decided, set the cutover, switch automatic sync on if told, and finish the run."""
    handled = golive.go_live(
        work.context.database,
        wizard.opened(work, run_id),
        HANDLERS,
        cutover=given.cutover,
        decision=given.waiting,
        actor=work.caller.actor,
        auto_sync=given.auto_sync,
    )
    return _json(GoneLive(handled=handled))


@router.post("/runs/{run_id}/undo", response_model=UndoneTold)
def take_back(run_id: UUID, work: Manager) -> Response:
    """Take back what a run did: its links, mappings and settings. Nothing is undone in QuickBooks."""

    def act(connection: Connection) -> UndoneTold:
        done = undo.undo(connection, run_id, actor=work.caller.actor, on_mapping_set=wizard.hook(work))
        return UndoneTold.model_validate(done)

    return work.once(act)


def _told(connection: Connection, run: Run) -> RunTold:
    told = RunTold.model_validate(run)
    told.readings = [
        ReadingTold.model_validate(one) for one in runs.readings(connection, run.run_id).values()
    ]
    told.did = runs.summary(connection, run.run_id)
    return told


def _json(told: BaseModel) -> Response:
    return JSONResponse(told.model_dump(mode="json"))
