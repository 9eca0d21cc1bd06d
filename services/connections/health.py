"""How a company's connection is: everything on the Sync Health card that is known without asking QuickBooks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Connection, text

from services.connections import catalog, companies, facts, meter, notices, preflight
from services.connections.companies import Company
from services.connections.meter import Spent
from services.connections.notices import Notice
from services.connections.preflight import Finding
from services.ledger import pauses
from services.ledger.operations import State
from services.mapping import settings
from services.mapping.settings import Reference

_TOKEN = text(
    """SELECT refresh_expires_at, hard_expires_at, refreshed_at, refreshing_since,
              floor(extract(epoch FROM least(refresh_expires_at, hard_expires_at) - clock_timestamp()) / 86400)::int
         FROM company_token WHERE company_id = :company"""
)
_LIMITER = text(
    """SELECT paused_until, paused_reason FROM company_limiter
        WHERE company_id = :company AND paused_until > clock_timestamp()"""
)
# The tenant is named for its index: of one company there is none that holds what is done.
_OPERATIONS = text(
    "SELECT state, count(*) FROM operation WHERE tenant_id = :tenant AND company_id = :company GROUP BY state"
)
_OLDEST = text(
    """SELECT min(created_at) FROM operation
        WHERE tenant_id = :tenant AND company_id = :company
          AND state IN ('queued', 'running', 'waiting', 'scheduled')"""
)
_FEED = text(
    """SELECT f.due_at, f.cursor, f.webhook_at,
              (SELECT max(p.finished_at) FROM poll_cycle p
                WHERE p.company_id = f.company_id AND p.state = 'complete') AS complete_at
         FROM change_feed f WHERE f.company_id = :company"""
)
_LINKS = text(
    "SELECT count(*) FROM link WHERE company_id = :company AND state IN ('drift', 'external_voided')"
)
_EXCEPTIONS = text(
    """SELECT count(*) FROM exception
        WHERE tenant_id = :tenant AND company_id = :company AND state IN ('open', 'in_progress')"""
)


@dataclass(frozen=True, slots=True)
class TokenHealth:
    """Until when the authorization holds, if it is used; `days_left` counts to the earlier of both ends."""

    refresh_expires_at: datetime
    hard_expires_at: datetime | None
    refreshed_at: datetime
    refreshing_since: datetime | None
    days_left: int


@dataclass(frozen=True, slots=True)
class Health:
    """The Sync Health card of one company."""

    company: Company
    auto_sync: bool
    cutover_date: date | None
    auto_create_customers: bool
    deposit_account: Reference | None  # None: Undeposited Funds
    default_class: Reference | None
    default_department: Reference | None
    paused: list[str]  # stop switches that hold its work: fleet, tenant, company
    resting_until: datetime | None  # Intuit asked us to call less
    resting_reason: str | None
    token: TokenHealth | None
    notices: list[Notice]  # told before the token in force ends
    operations: dict[str, int]  # by state
    oldest_unfinished_at: datetime | None
    next_cycle_at: datetime | None  # None before the first, as the three that follow
    complete_cycle_at: datetime | None  # when everything that had changed was last seen
    cursor: datetime | None  # by QuickBooks' clock: what changed until then was seen
    webhook_at: datetime | None  # when Intuit last told of a change
    drifted: int
    exceptions_open: int
    reads_this_month: Spent
    read_budget: int | None
    findings: list[Finding]


def of(connection: Connection, company_id: UUID) -> Health:
    """The health of a company. Raises `Refusal` when there is none in the scope of the transaction."""
    company = companies.get(connection, company_id)
    found = {"company": company_id, "tenant": company.tenant_id}
    chosen = settings.resolve(connection, company.tenant_id, company_id=company_id)
    preferences = facts.preferences(connection, company_id)
    token = connection.execute(_TOKEN, found).one_or_none()
    resting = connection.execute(_LIMITER, found).one_or_none()
    feed = connection.execute(_FEED, found).one_or_none()
    counts = dict.fromkeys(map(str, State), 0)
    counts.update({row.state: row.count for row in connection.execute(_OPERATIONS, found)})
    return Health(
        company=company,
        auto_sync=chosen.auto_sync,
        cutover_date=chosen.cutover_date,
        auto_create_customers=chosen.auto_create_customers,
        deposit_account=chosen.deposit_account,
        default_class=chosen.default_class,
        default_department=chosen.default_department,
        paused=[
            pause.scope
            for pause in pauses.active(connection)
            if pause.tenant_id in {None, company.tenant_id} and pause.company_id in {None, company_id}
        ],
        resting_until=resting.paused_until if resting else None,
        resting_reason=resting.paused_reason if resting else None,
        token=TokenHealth(*token) if token else None,
        notices=notices.told(connection, company_id),
        operations=counts,
        oldest_unfinished_at=connection.execute(_OLDEST, found).scalar(),
        next_cycle_at=feed.due_at if feed else None,
        complete_cycle_at=feed.complete_at if feed else None,
        cursor=feed.cursor if feed else None,
        webhook_at=feed.webhook_at if feed else None,
        drifted=connection.execute(_LINKS, found).scalar_one(),
        exceptions_open=connection.execute(_EXCEPTIONS, found).scalar_one(),
        reads_this_month=meter.spent(connection, company_id),
        read_budget=chosen.read_budget,
        findings=[
            *preflight.deposits(
                _bank_accounts(connection, company_id), chosen.deposit_account, chosen.deposit_accounts
            ),
            *(preflight.report(preferences) if preferences else []),
        ],
    )


def _bank_accounts(connection: Connection, company_id: UUID) -> dict[str, str]:
    """Names of the company's bank accounts by id, as its list was last read."""
    return {
        entry.id: entry.name
        for entry in catalog.entries(connection, company_id, "Account")
        if entry.data.get("AccountType") == "Bank"
    }
