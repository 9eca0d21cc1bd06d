"""Creating the customer of a client that has none, or the sub-customer of a billing profile, and linking it.

Created first and asked about after: a name that is taken is refused by QuickBooks, and only then is it looked at.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/customer#create-a-customer
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from messages.clients import Client
from services.exceptions import causes
from services.ledger.operations import Operation
from services.ledger.ports import Adopt, Fail, Look, Prepared, Problem, Send, Settled, Skip
from services.ledger.troubles import EXPORT_ERROR
from services.mapping import mappings
from services.mapping.mappings import Key, lookup
from services.outbound import books as books_
from services.outbound import customers, forms, new_customers
from services.outbound.books import Books
from services.outbound.handler import OutboundHandler, sent
from services.quickbooks import calls, query
from services.quickbooks.entities import Customer
from services.quickbooks.errors import Refused
from services.quickbooks.reply import Reply

NAME_IN_USE = "6240"
LONGEST_NAME = 500
LONGEST_COMPANY = 100

_TAKEN = text(
    """SELECT kind, key FROM mapping WHERE company_id = :company AND kind IN ('customer', 'billing_profile')
          AND external_id = :id LIMIT 1"""
)


class CreateCustomer(OutboundHandler):
    """Handler of `create_customer`."""

    kind = new_customers.KIND
    act = "create"

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Build the customer from what the document said of the client; a linked one needs none."""
        assert operation.company_id is not None
        key, client = _key(operation), Client.model_validate(operation.payload["client"])
        if lookup(connection, operation.company_id, [key]):
            return Skip("linked", "it is linked to a customer by now")
        books = books_.load(connection, operation.company_id, client.id)
        if not new_customers.wanted(books):
            return Skip("switched_off", "customers are not created by themselves any more")
        wire = _wire(operation, client, books)
        if key[0] == "billing_profile":
            above = customers.keys("customer", client.id, operation.payload["currency"], books)
            links = lookup(connection, books.company_id, above)
            parent = next((links[one].external_id for one in above if one in links), None)
            if parent is None:
                payload = {**operation.payload, "name": client.name}
                held = new_customers.begin(connection, operation.tenant_id, books, above[-1], payload)
                return held if held is not None else Fail(_no_parent(operation, client))
            wire |= {"Job": True, "BillWithParent": True, "ParentRef": {"value": parent}}
        call = calls.create("Customer", wire, requestid=requestid)
        if operation.seen is None:
            return Send(call)
        same = [one for one in operation.seen["customers"] if _fits(one, wire, books)]
        if len(same) == 1:
            taken = connection.execute(_TAKEN, {"company": books.company_id, "id": same[0]["Id"]}).first()
            if taken is None:
                return Adopt(call, same[0])
        return Fail(_name_in_use(operation, wire, operation.seen["customers"]))

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Link it; documents that waited for it go on with this step."""
        answered = reply.one(Customer)
        assert operation.company_id is not None
        currency = answered.currency_ref.value if answered.currency_ref is not None else ""
        mappings.put(
            connection,
            operation.tenant_id,
            operation.company_id,
            _key(operation),
            external_id=str(answered.id),
            external_name=(answered.display_name or "")[: mappings.MAX_KEY],
            details={"currency": currency} if currency else {},
            actor="algasync",
            on_mapping_set=lambda inside, tenant, cause: _release(inside, tenant, cause, operation),
        )
        return Settled({"quickbooks_id": str(answered.id), "name": answered.display_name})

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any] | None:
        """Who has the name: it may be the client's customer, whom nobody has linked."""
        if refusal.fault.code != NAME_IN_USE:
            return None
        return {"customers": _named(look, sent(operation)["DisplayName"])[1]}


def _key(operation: Operation) -> Key:
    kind, id_, variant = operation.payload["key"]
    return (kind, id_, variant)


def _wire(operation: Operation, client: Client, books: Books) -> dict[str, Any]:
    name = re.sub(r"[:\s]+", " ", operation.payload["name"]).strip()[:LONGEST_NAME]
    wire: dict[str, Any] = {"DisplayName": name, "CompanyName": client.name[:LONGEST_COMPANY]}
    wire |= forms.contact(client)
    if "BillEmail" in wire:
        wire["PrimaryEmailAddr"] = wire.pop("BillEmail")
    if books.multicurrency:
        wire["CurrencyRef"] = {"value": operation.payload["currency"]}
    return wire


def _named(look: Look, name: str) -> tuple[Reply, list[dict[str, Any]]]:
    reply = look(calls.query(query.select("Customer").with_inactive().where("DisplayName", "=", name)))
    return reply, [dict(row) for row in reply.data["QueryResponse"].get("Customer") or []]


def _fits(raw: Mapping[str, Any], wire: Mapping[str, Any], books: Books) -> bool:
    """Active, of exactly that name, in that currency, below that customer."""
    currency = (raw.get("CurrencyRef") or {}).get("value") or books.home_currency
    wanted = (wire.get("CurrencyRef") or {}).get("value") or books.home_currency
    return (
        raw.get("Active") is not False
        and str(raw.get("DisplayName", "")).casefold() == str(wire["DisplayName"]).casefold()
        and currency == wanted
        and (raw.get("ParentRef") or {}).get("value") == (wire.get("ParentRef") or {}).get("value")
    )


def _release(connection: Connection, tenant: str, cause: str, operation: Operation) -> None:
    causes.release(connection, tenant, cause, "algasync", f"its customer was created ({operation.kind})")


def _name_in_use(operation: Operation, wire: Mapping[str, Any], rows: list[dict[str, Any]]) -> Problem:
    kind, id_, _ = _key(operation)
    holders = ", ".join(
        f"customer {row.get('DisplayName')} ({row['Id']}{', inactive' if row.get('Active') is False else ''})"
        for row in rows
    )
    return Problem(
        type=EXPORT_ERROR,
        code="customer_name_in_use",
        cause=f"mapping:{kind}:{operation.company_id}:{id_}",
        title=f"Cannot create the customer {wire['DisplayName']}",
        happened=f"{holders or 'A vendor or an employee'} has this name in QuickBooks, where names are unique.",
        why="It may be the client under another currency or parent, inactive, or linked to another client.",
        fix=f"Link the client: algasync mappings set {kind} {id_} <QuickBooks id>, or rename the one that has the name"
        " and retry.",
        client_id=operation.payload["client"]["id"],
    )


def _no_parent(operation: Operation, client: Client) -> Problem:
    return Problem(
        type=EXPORT_ERROR,
        code=new_customers.MISSING,
        cause=f"mapping:customer:{operation.company_id}:{client.id}",
        title=f"The billing profile {operation.payload['name']} has no customer above it",
        happened=f"{client.name} ({client.id}) is not linked, and creating its customer was given up.",
        why="The customer of a billing profile is a sub-customer of its client's.",
        fix=f"Link the client: algasync mappings set customer {client.id} <QuickBooks id>.",
        client_id=client.id,
    )
