"""Which company a request means."""

from __future__ import annotations

from sqlalchemy import Connection

from services.api.work import Work
from services.connections import companies
from services.connections.companies import Company
from services.refusals import missing


def company_of(work: Work, connection: Connection, realm_id: str | None) -> Company:
    """The company of a realm id, else the tenant's default. Raises `Refusal` when there is none.

    A realm id of the environment in use comes first; one of the other is found too, so that it can be
    disconnected.
    """
    known = companies.listed(connection, work.tenant)
    ours = work.context.intuit.environment.name
    wanted = [one for one in known if (one.is_default if realm_id is None else one.realm_id == realm_id)]
    if wanted:
        return min(wanted, key=lambda one: one.environment != ours)
    if realm_id is None:
        raise missing(
            "this tenant has no QuickBooks company yet; connect one first",
            code="no_company",
            field="realm_id",
        )
    raise missing(f"there is no QuickBooks company {realm_id} in this tenant", code="unknown_company")
