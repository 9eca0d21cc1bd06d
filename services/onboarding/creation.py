"""Creating a customer in QuickBooks on demand: the one thing the wizard writes there, and only when told to.

The call is written down before it is made and made again under the same request id when its outcome is unknown,
so a crash never makes a customer twice.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/customer#create-a-customer
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.database import Database
from services.ledger.ports import Clients
from services.mapping import mappings
from services.mapping.mappings import Hook
from services.onboarding import customers, reading, runs
from services.onboarding.customer_matches import mapping_key, variants
from services.onboarding.handover import Client
from services.onboarding.runs import Run
from services.quickbooks import calls
from services.quickbooks.call import Call
from services.quickbooks.errors import Refused
from services.quickbooks.query import select
from services.refusals import Refusal, conflict

REPLAY_WITHIN = timedelta(hours=12)
"""Age up to which the same call is simply made again; later QuickBooks is asked first."""

_NAME_IN_USE = "6240"
_COMPANY = text("SELECT home_currency, preferences FROM company WHERE company_id = :company")
_INTENDED = text(
    """SELECT action_id, kind, key, variant, facts, clock_timestamp() - at < CAST(:within AS interval) AS young
         FROM onboarding_action WHERE run_id = :run AND action = 'created' AND state = 'intended' ORDER BY action_id"""
)
_STATE = text(
    """UPDATE onboarding_action SET state = :state, external_id = :external_id, facts = facts || CAST(:facts AS jsonb)
        WHERE action_id = :action AND state = 'intended'"""
)


def create(
    database: Database,
    clients: Clients,
    run: Run,
    client_at: tuple[str, str, str],
    *,
    actor: str,
    on_mapping_set: Hook,
    display_name: str = "",
) -> str:
    """Create the customer (or sub-customer) of a client and link it; returns its id in QuickBooks.

    Raises `Refusal` when the client is linked already or the name is held by somebody, active or not; errors of the
    wire pass through, and `settle` goes on from there.
    """
    settle(database, clients, run, actor=actor, on_mapping_set=on_mapping_set)
    with database.transaction(run.tenant_id) as connection:
        runs.opened(connection, run.run_id)
        client = customers.find(connection, run, client_at)
        at = mapping_key(client)
        held = mappings.lookup(connection, run.company_id, [at]).get(at)
        if held is not None:
            return held.external_id
        wire = _body(connection, run, client, display_name.strip() or client.name)
        action_id = runs.record(
            connection,
            run,
            "created",
            client.kind,
            client.id,
            variant=client.currency,
            facts={"body": wire},
            state="intended",
            actor=actor,
        )
    return _finish(database, clients, run, action_id, client, wire, actor, on_mapping_set, look_first=False)


def settle(database: Database, clients: Clients, run: Run, *, actor: str, on_mapping_set: Hook) -> int:
    """Find out about creations whose outcome is unknown, and finish them; returns how many there were."""
    with database.transaction(run.tenant_id) as connection:
        rows = connection.execute(_INTENDED, {"run": run.run_id, "within": REPLAY_WITHIN}).all()
        known = [(row, customers.find(connection, run, (row.kind, row.key, row.variant))) for row in rows]
    for row, client in known:
        wire = row.facts["body"]
        _finish(
            database,
            clients,
            run,
            row.action_id,
            client,
            wire,
            actor,
            on_mapping_set,
            look_first=not row.young,
        )
    return len(known)


def _finish(
    database: Database,
    clients: Clients,
    run: Run,
    action_id: int,
    client: Client,
    wire: dict[str, Any],
    actor: str,
    on_mapping_set: Hook,
    *,
    look_first: bool,
) -> str:
    """Make the call, or find what it made; then link."""
    call = calls.create("Customer", wire, requestid=f"algasync-onboarding-{run.run_id.hex[-12:]}-{action_id}")
    try:
        data = (_there(clients, run.company_id, wire) if look_first else None) or _created(clients, run, call)
    except Refused as refused:
        with database.transaction(run.tenant_id) as connection:
            facts = json.dumps({"refused": str(refused)})
            values = {"action": action_id, "state": "undone", "external_id": "", "facts": facts}
            connection.execute(_STATE, values)
        raise _explained(refused, wire) from refused
    with database.transaction(run.tenant_id) as connection:
        values = {"action": action_id, "state": "done", "external_id": str(data["Id"]), "facts": "{}"}
        connection.execute(_STATE, values)
        reading.put_customer(connection, run, data)
        customers.link_to(
            connection,
            run,
            client,
            str(data["Id"]),
            str(data["DisplayName"]),
            "created",
            actor,
            on_mapping_set,
        )
    return str(data["Id"])


def _created(clients: Clients, run: Run, call: Call) -> dict[str, Any]:
    # A write that waits for its own slot of the limiter, as reads do.
    return dict(clients.look(run.company_id, call).data["Customer"])


def _there(clients: Clients, company_id: UUID, wire: dict[str, Any]) -> dict[str, Any] | None:
    query = select("Customer").with_inactive().where("DisplayName", "=", wire["DisplayName"])
    rows = clients.look(company_id, calls.query(query)).data["QueryResponse"].get("Customer") or []
    return dict(rows[0]) if len(rows) == 1 else None


def _body(connection: Connection, run: Run, client: Client, name: str) -> dict[str, Any]:
    row = connection.execute(_COMPANY, {"company": run.company_id}).one()
    written = re.sub(r"[:\s]+", " ", name).strip()[:500]
    for customer in reading.customers(connection, run.run_id):
        if customer.name.casefold() == written.casefold():
            state = "" if customer.active else ", inactive,"
            advice = "link it" if customer.active else "make it active there and link it"
            raise conflict(
                "name_in_use",
                f"customer {customer.name} ({customer.id}){state} has this name in QuickBooks, where names are unique;"
                f" {advice}, or create one under another name",
                field="display_name",
            )
    wire: dict[str, Any] = {"DisplayName": written, "CompanyName": client.name[:100]}
    if "@" in client.email and len(client.email) <= 100:
        wire["PrimaryEmailAddr"] = {"Address": client.email}
    currency = client.currency or row.home_currency
    several = (row.preferences.get("CurrencyPrefs") or {}).get("MultiCurrencyEnabled") is True
    if several and currency:
        wire["CurrencyRef"] = {"value": currency}
    elif currency != row.home_currency:
        raise conflict(
            "single_currency",
            f"{client.name} is billed in {currency}, and the company keeps its books in {row.home_currency} only",
            field="currency",
        )
    if client.kind == "billing_profile":
        keys = [
            ("customer", client.parent_id, variant)
            for variant in variants(client.currency, row.home_currency)
        ]
        above = mappings.lookup(connection, run.company_id, keys)
        parent = next((above[key] for key in keys if key in above), None)
        if parent is None:
            raise conflict(
                "parent_not_linked",
                f"link client {client.parent_id} first: the customer of a billing profile is made below its own",
                field="parent_id",
            )
        wire |= {"Job": True, "BillWithParent": True, "ParentRef": {"value": parent.external_id}}
    return wire


def _explained(refused: Refused, wire: dict[str, Any]) -> Refusal:
    if refused.fault is not None and refused.fault.code == _NAME_IN_USE:
        return conflict(
            "name_in_use",
            f"QuickBooks has a customer, vendor or employee named {wire['DisplayName']} already, and names are unique"
            " there, inactive ones too; give the customer another name, e.g. with a town",
            field="display_name",
        )
    return conflict("refused", f"QuickBooks refused the customer {wire['DisplayName']}: {refused!s}")
