"""Which client is which customer: exact matches linked in bulk, all others one by one."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text

from services.database import Database
from services.mapping import mappings
from services.mapping.mappings import Hook, Key
from services.onboarding import handover, reading, runs
from services.onboarding.customer_matches import KINDS, Match, judged, mapping_key
from services.onboarding.handover import Client
from services.onboarding.runs import Run
from services.refusals import conflict, missing

BATCH = 100
"""Links written in one transaction."""


_HOME = text("SELECT home_currency FROM company WHERE company_id = :company")
_HOLDER = text(
    """SELECT kind, key, variant FROM mapping
        WHERE company_id = :company AND kind IN ('customer', 'billing_profile') AND external_id = :external_id"""
)


def linked(connection: Connection, run: Run) -> dict[Key, mappings.Mapping]:
    """All links of clients and billing profiles to customers."""
    return {
        row.at: row
        for kind in KINDS.values()
        for row in mappings.every(connection, run.tenant_id, run.company_id, kind)
    }


def plan(database: Database, run: Run) -> list[Match]:
    """Judge every client by what was read and what is linked by now. Changes nothing.

    Judging takes its time, so no transaction is open meanwhile.
    """
    with database.transaction(run.tenant_id) as connection:
        clients = handover.clients(connection, run.tenant_id)
        found = reading.customers(connection, run.run_id)
        links = linked(connection, run)
        home = connection.execute(_HOME, {"company": run.company_id}).scalar() or ""
    return judged(clients, found, links, home)


def accept_exact(
    database: Database,
    run: Run,
    *,
    actor: str,
    on_mapping_set: Hook,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> int:
    """Link every exact match, a hundred a transaction; returns how many. A run that died goes on where it was."""
    exact = [match for match in plan(database, run) if match.status == "exact"]
    for first in range(0, len(exact), BATCH):
        with database.transaction(run.tenant_id) as connection:
            runs.opened(connection, run.run_id)
            for match in exact[first : first + BATCH]:
                chosen = match.candidates[0]
                link_to(connection, run, match.client, chosen.id, chosen.name, "exact", actor, on_mapping_set)
        progress(min(first + BATCH, len(exact)), len(exact))
    return len(exact)


def link(
    connection: Connection,
    run: Run,
    client_at: tuple[str, str, str],
    external_id: str,
    *,
    actor: str,
    on_mapping_set: Hook,
) -> None:
    """Link one client `(kind, id, currency)` to a customer that a person chose. Raises `Refusal`."""
    runs.opened(connection, run.run_id)
    client = find(connection, run, client_at)
    customer = next((one for one in reading.customers(connection, run.run_id) if one.id == external_id), None)
    if customer is None:
        raise missing(
            f"QuickBooks had no customer {external_id} when it was read; refresh the run if it is new",
            code="unknown_customer",
            field="customer",
        )
    if not customer.active:
        raise conflict(
            "inactive_customer",
            f"{customer.name} ({customer.id}) is inactive in QuickBooks, which takes no documents for it; make it"
            " active there and refresh the run, or choose another",
            field="customer",
        )
    home = connection.execute(_HOME, {"company": run.company_id}).scalar() or ""
    wanted, has = client.currency or home, customer.currency or home
    if wanted != has:
        raise conflict(
            "other_currency",
            f"{customer.name} ({customer.id}) is billed in {has} for ever and {client.name} is billed in {wanted};"
            f" choose or create a customer in {wanted}",
            field="customer",
        )
    link_to(connection, run, client, customer.id, customer.name, "chosen", actor, on_mapping_set)


def find(connection: Connection, run: Run, client_at: tuple[str, str, str]) -> Client:
    """The client at `(kind, id, currency)`. Raises `Refusal`."""
    for client in handover.clients(connection, run.tenant_id):
        if client.at == client_at:
            return client
    raise missing(
        f"the PSA listed no {client_at[0]} {client_at[1]}" + (f" in {client_at[2]}" if client_at[2] else ""),
        code="unknown_client",
        field="client",
    )


def link_to(
    connection: Connection,
    run: Run,
    client: Client,
    external_id: str,
    name: str,
    how: str,
    actor: str,
    on_mapping_set: Hook,
) -> None:
    """Link without asking what was read, as for a customer that the run has just created. Raises `Refusal`.

    `how` says in the run's record why it is this one.
    """
    at = mapping_key(client)
    holders = connection.execute(_HOLDER, {"company": run.company_id, "external_id": external_id}).all()
    others = [row for row in holders if (row.kind, row.key) != at[:2]]
    if others:
        raise conflict(
            "customer_taken",
            f"customer {name} ({external_id}) is linked to {others[0].kind} {others[0].key} already; one customer"
            " is one client. Unlink that one first, or choose another",
            field="customer",
        )
    before = mappings.lookup(connection, run.company_id, [at]).get(at)
    if before is not None and before.external_id == external_id:
        return
    mappings.put(
        connection,
        run.tenant_id,
        run.company_id,
        at,
        external_id=external_id,
        external_name=name[: mappings.MAX_KEY],
        actor=actor,
        on_mapping_set=on_mapping_set,
    )
    was = {"external_id": before.external_id, "external_name": before.external_name} if before else None
    runs.record(
        connection,
        run,
        "mapped",
        client.kind,
        client.id,
        variant=client.currency,
        external_id=external_id,
        facts={"before": was, "how": how, "name": name},
        actor=actor,
    )
