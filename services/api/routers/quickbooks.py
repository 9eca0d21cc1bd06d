"""`/v1/quickbooks`: the Intuit app's credentials, connected companies and their health."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, Field, SecretStr
from sqlalchemy import Connection
from starlette.responses import Response

from services.api.shapes import CompanyTold, EntryTold, Given, Told
from services.api.targets import company_of
from services.api.work import Manager, Reader, Work, entitled
from services.connections import companies, credentials, health, oauth_flow
from services.inbound import cycles, schedule
from services.ledger import timeline

router = APIRouter(prefix="/v1/quickbooks", tags=["QuickBooks"], dependencies=[Depends(entitled)])


class CredentialsGiven(Given):
    """The Intuit app of this tenant: both values or neither."""

    client_id: str = Field(max_length=500, examples=["ABfakeClientId0123456789"])
    client_secret: SecretStr = Field(max_length=500, examples=["fakeClientSecret0123456789"])


class CredentialsTold(Told):
    """What the credentials card shows. Secrets are masked; the values themselves are never returned."""

    ready: bool = Field(description="Credentials Ready.")
    can_connect: bool = Field(description="Whether Connect QuickBooks can be clicked.")
    reason: str | None = Field(description="Why not, and what to do.")
    source: str | None = Field(description="tenant: its own app; application: the operator's shared one.")
    client_id: str = Field(description="Masked to the last four characters.")
    client_secret: str = Field(description="Masked to the last four characters.")
    updated_at: datetime | None
    updated_by: str | None
    redirect_uri: str = Field(description="Register exactly this with your Intuit app.")
    scope: str
    environment: str = Field(description="sandbox or production, set by the operator.")


class ConnectGiven(Given):
    """How to connect."""

    return_to: str = Field(
        default="", max_length=2000, description="Address of the PSA to send the browser back to."
    )
    realm_id: str | None = Field(default=None, description="Reconnect this company and no other.")


class ConnectTold(BaseModel):
    """A way to Intuit for one browser."""

    connect_url: str = Field(description="Open it in the admin's browser; good once.")
    expires_at: datetime


class CompaniesTold(BaseModel):
    """The tenant's companies, oldest connection first."""

    data: list[CompanyTold]


class Disconnected(BaseModel):
    """A company whose tokens are gone here; credentials, links and mappings stay."""

    company: CompanyTold
    revoked: bool = Field(description="Whether Intuit confirmed that the tokens are revoked.")


class TokenTold(Told):
    """Until when the authorization holds if it is used."""

    refresh_expires_at: datetime
    hard_expires_at: datetime | None
    refreshed_at: datetime
    refreshing_since: datetime | None
    days_left: int


class NoticeTold(Told):
    """The admin was told that the authorization ends."""

    days: int = Field(description="The band: 14, 7 or 2 days ahead.")
    hard: bool = Field(description="Intuit's fixed end, which only a reconnect moves.")
    ends_at: datetime
    told_at: datetime


class SpentTold(Told):
    """Metered reads of the running month."""

    total: int
    by_operation: dict[str, int]


class FindingTold(Told):
    """A setting of the company worth knowing, and where to change it in QuickBooks."""

    code: str
    risk: bool
    sentence: str
    place: str


class CycleTold(Told):
    """One reading of what changed in QuickBooks; complete only when everything in its window was seen."""

    number: int
    cause: str = Field(description="schedule, webhook or request.")
    state: str = Field(description="running, complete or incomplete.")
    reason: str | None = Field(description="Why it is incomplete.")
    answered: dict[str, int] = Field(description="Objects in QuickBooks' answers, by entity.")
    asked_from: datetime
    cursor_after: datetime | None = Field(description="Seen until here, by Intuit's clock.")
    outcomes: dict[str, int] = Field(
        description="What the changes were: new, seen, echo, unlinked, unmapped."
    )
    resolution: list[str] = Field(description="How answers that may have been cut were made whole.")
    reads: int
    started_at: datetime
    finished_at: datetime | None


class ReferenceTold(Told):
    """Something of the QuickBooks company."""

    id: str
    name: str


class HealthTold(Told):
    """The Sync Health card."""

    last_cycle: CycleTold | None = Field(default=None, description="Last Sync Cycle; null before the first.")
    next_cycle_at: datetime | None
    complete_cycle_at: datetime | None = Field(description="When everything that had changed was last seen.")
    cursor: datetime | None = Field(description="What changed until then was seen, by Intuit's clock.")
    webhook_at: datetime | None = Field(description="When Intuit last told of a change.")
    company: CompanyTold
    auto_sync: bool
    cutover_date: date | None
    auto_create_customers: bool
    deposit_account: ReferenceTold | None = Field(description="Of payments; null: Undeposited Funds.")
    default_class: ReferenceTold | None
    default_department: ReferenceTold | None
    paused: list[str]
    resting_until: datetime | None
    resting_reason: str | None
    token: TokenTold | None
    notices: list[NoticeTold]
    operations: dict[str, int]
    oldest_unfinished_at: datetime | None
    drifted: int
    exceptions_open: int
    reads_this_month: SpentTold
    read_budget: int | None
    findings: list[FindingTold]


class CursorGiven(Given):
    """Where to begin to read changes."""

    cursor: AwareDatetime = Field(description="Changes are read from this moment on; with offset or Z.")


class TimelineTold(BaseModel):
    """Who did what, oldest first."""

    data: list[EntryTold]


@router.get("/credentials", response_model=CredentialsTold)
def show_credentials(work: Reader) -> CredentialsTold:
    """Show what to register with Intuit, and whether credentials are ready."""
    with work.transaction() as connection:
        return _credentials(work, connection)


@router.put("/credentials", response_model=CredentialsTold)
def save_credentials(given: CredentialsGiven, work: Manager) -> Response:
    """Save the tenant's own Intuit app."""

    def save(connection: Connection) -> CredentialsTold:
        credentials.save(
            connection,
            work.context.intuit.vault,
            work.tenant,
            client_id=given.client_id,
            client_secret=given.client_secret.get_secret_value(),
            actor=work.caller.actor,
        )
        return _credentials(work, connection)

    return work.once(save)


@router.delete("/credentials", response_model=CredentialsTold)
def remove_credentials(work: Manager) -> Response:
    """Forget the tenant's own Intuit app; refused while a company is connected with it."""

    def remove(connection: Connection) -> CredentialsTold:
        credentials.remove(connection, work.tenant, work.caller.actor)
        return _credentials(work, connection)

    return work.once(remove)


@router.post("/connect", status_code=201, response_model=ConnectTold)
def connect(given: ConnectGiven, work: Manager) -> ConnectTold:
    """Begin to connect a company: returns the address to open in the admin's browser.

    An Idempotency-Key has no effect here: every call makes a new address, and an unused one just lapses.
    """
    intuit = work.context.intuit
    with work.transaction() as connection:
        expected = company_of(work, connection, given.realm_id).company_id if given.realm_id else None
        ticket = oauth_flow.begin(
            connection,
            intuit,
            work.tenant,
            actor=work.caller.actor,
            return_to=given.return_to,
            company_id=expected,
        )
    return ConnectTold(connect_url=intuit.connect_url(ticket.secret), expires_at=ticket.expires_at)


@router.get("/companies", response_model=CompaniesTold)
def list_companies(work: Reader) -> CompaniesTold:
    """List the companies this tenant ever connected."""
    with work.transaction() as connection:
        return CompaniesTold(data=[CompanyTold.of(one) for one in companies.listed(connection, work.tenant)])


@router.get("/companies/{realm}", response_model=CompanyTold)
def show_company(realm: str, work: Reader) -> CompanyTold:
    """Show one company."""
    with work.transaction() as connection:
        return CompanyTold.of(company_of(work, connection, realm))


@router.get("/companies/{realm}/health", response_model=HealthTold)
def show_health(realm: str, work: Reader) -> HealthTold:
    """Everything on the Sync Health card."""
    with work.transaction() as connection:
        return _health(connection, company_of(work, connection, realm).company_id)


@router.put("/companies/{realm}/cursor", response_model=HealthTold)
def set_cursor(realm: str, given: CursorGiven, work: Manager) -> Response:
    """Read QuickBooks' changes from this moment on, whatever was read before; reading again does no harm.

    Set it before the first cycle, else changes are read from the moment the company was connected.
    """

    def act(connection: Connection) -> HealthTold:
        company_id = company_of(work, connection, realm).company_id
        schedule.set_cursor(connection, company_id, given.cursor, work.caller.actor)
        return _health(connection, company_id)

    return work.once(act)


@router.get("/companies/{realm}/timeline", response_model=TimelineTold)
def show_timeline(realm: str, work: Reader) -> TimelineTold:
    """Who connected, disconnected and reconnected it, and when it expired."""
    with work.transaction() as connection:
        company = company_of(work, connection, realm)
        entries = timeline.read(connection, work.tenant, "company", str(company.company_id))
    return TimelineTold(data=[EntryTold.model_validate(entry) for entry in entries])


@router.post("/companies/{realm}/make-default", response_model=CompanyTold)
def make_default(realm: str, work: Manager) -> Response:
    """Send documents that name no company to this one from now on."""

    def act(connection: Connection) -> CompanyTold:
        company = company_of(work, connection, realm)
        return CompanyTold.of(companies.make_default(connection, company.company_id, work.caller.actor))

    return work.once(act)


@router.post("/companies/{realm}/disconnect", response_model=Disconnected)
def disconnect(realm: str, work: Manager) -> Response:
    """Forget the company's tokens here and at Intuit. Its work waits; one click reconnects it.

    Another request for it answers 409: the company is disconnected already.
    """

    def act() -> Disconnected:
        context = work.context
        with work.transaction() as connection:
            company_id = company_of(work, connection, realm).company_id
        revoked = oauth_flow.disconnect(
            context.database, context.intuit, context.attention, work.tenant, company_id, work.caller.actor
        )
        with work.transaction() as connection:
            company = CompanyTold.of(companies.get(connection, company_id))
        return Disconnected(company=company, revoked=revoked)

    return work.beyond(act)


def _health(connection: Connection, company_id: UUID) -> HealthTold:
    card = HealthTold.model_validate(health.of(connection, company_id))
    for cycle in cycles.page(connection, company_id, limit=1):
        card.last_cycle = CycleTold.model_validate(cycle)
    return card


def _credentials(work: Work, connection: Connection) -> CredentialsTold:
    return CredentialsTold.model_validate(work.context.intuit.card(connection, work.tenant))
