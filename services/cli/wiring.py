"""The composition root: from settings to the parts that commands and processes work with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection

from deploy.local import NotRunningError, PostgresqlServer, RabbitmqNode
from services.cli import local_sandbox
from services.cli.console import UNREACHABLE, USAGE, Told
from services.configuration import Configuration, configuration
from services.connections import companies
from services.connections.application import Application
from services.connections.companies import Company
from services.connections.intuit import Intuit
from services.connections.vault import Vault
from services.database import Database, Role
from services.database.engine import ALL_TENANTS


def database_url(settings: Configuration | None = None) -> str:
    """DATABASE_URL, else the embedded server that runs below the data folder. Raises `Told`."""
    settings = settings or configuration()
    if settings.database_url:
        return settings.database_url
    try:
        return PostgresqlServer(settings.data / "postgresql").url
    except NotRunningError:
        raise Told(
            f"there is no database: DATABASE_URL is not set and no embedded PostgreSQL runs in {settings.data}."
            " Set DATABASE_URL, or start everything with: algasync up",
            code="no_database",
            field="DATABASE_URL",
            exit_code=UNREACHABLE,
        ) from None


def broker_url(settings: Configuration | None = None) -> str:
    """BROKER_URL, else the private node that runs below the data folder, else "" for the in-process broker."""
    settings = settings or configuration()
    if settings.broker_url:
        return settings.broker_url
    try:
        return RabbitmqNode(settings.data / "rabbitmq").url
    except NotRunningError:
        return ""


def intuit(settings: Configuration) -> Intuit:
    """Settings, app credentials and addresses of Intuit, or of the sandbox company that runs beside this command."""
    return Intuit(local_sandbox.joined(settings), Application(), Vault.of(settings))


def fleet_database(*, pool_size: int = 2, application: str = "algasync cli") -> Database:
    """The database as the fleet uses it: one tenant a transaction, or all of them."""
    return Database(database_url(), Role.FLEET, pool_size=pool_size, application=application)


@contextmanager
def transaction(tenant: str | None) -> Iterator[Connection]:
    """One transaction of an operator's command, of one tenant or of all."""
    with fleet_database(pool_size=1) as database, database.transaction(tenant or ALL_TENANTS) as connection:
        yield connection


def company(connection: Connection, tenant: str | None, wanted: str | None) -> Company | None:
    """The company an operator means: our id, its realm id or its exact name; None when none is named."""
    if wanted is None:
        return None
    try:
        return companies.get(connection, UUID(wanted))
    except ValueError:
        pass
    if tenant is None:
        raise Told(
            f"{wanted!r} is no company id; give --tenant to name a company by realm id or name",
            code="unknown_company",
            field="--company",
            exit_code=USAGE,
        )
    known = companies.listed(connection, tenant)
    found = [one for one in known if wanted in {one.realm_id, one.name}]
    if len(found) != 1:
        have = ", ".join(f"{one.name or '?'} ({one.realm_id}, {one.company_id})" for one in known) or "none"
        raise Told(
            f"{wanted!r} names {len(found) or 'no'} companies of tenant {tenant}; it has: {have}",
            code="unknown_company",
            field="--company",
            exit_code=USAGE,
        )
    return found[0]


def company_id(connection: Connection, tenant: str | None, wanted: str | None) -> UUID | None:
    """The id of `company`."""
    found = company(connection, tenant, wanted)
    return found.company_id if found else None


def chosen_company(connection: Connection, tenant: str, wanted: str | None) -> Company:
    """The company an operator means, else the tenant's default. Raises `Told` when there is none."""
    found = company(connection, tenant, wanted)
    found = found or next((one for one in companies.listed(connection, tenant) if one.is_default), None)
    if found is None:
        raise Told(
            f"tenant {tenant} has no QuickBooks company; connect one first, or name another with --company",
            code="no_company",
            field="--company",
            exit_code=USAGE,
        )
    return found
