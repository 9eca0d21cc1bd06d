"""`algasync pause` and `resume`: the stop switch of the fleet, a tenant or a company."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from services.cli import console
from services.cli.options import Actor, Company, Json, Reason, Tenant, said

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.ledger.pauses import Pause, Scope

Kind = Annotated[
    str | None,
    typer.Option(
        help="Only this kind of the company's work, e.g. export_invoice; the brake stops such by itself."
    ),
]
Fleet = Annotated[bool, typer.Option("--fleet", help="Everything: all tenants and companies.")]


def pause(
    tenant: Tenant = None,
    company: Company = None,
    kind: Kind = None,
    fleet: Fleet = False,
    reason: Reason = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Stop sync of a company, a tenant or the whole fleet. Calls under way finish; paused work waits.

    Without options, say what is paused now.

    Example: algasync pause --tenant acme --company 4620816365291234567 --reason 'books are being closed'
    """
    from services.cli import wiring
    from services.ledger import pauses

    with wiring.transaction(None) as connection:
        if (tenant, company, kind, fleet) == (None, None, None, False):
            _show(pauses.active(connection))
            return
        scope, company_id = _scope(connection, tenant, company, kind, fleet)
        why = said(reason, "--reason", "books are being closed")
        changed = pauses.pause(
            connection, scope, actor=str(actor), reason=why, tenant=tenant, company_id=company_id, kind=kind
        )
    _tell(scope, "paused", changed, "was paused already")


def resume(
    tenant: Tenant = None,
    company: Company = None,
    kind: Kind = None,
    fleet: Fleet = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Let sync go on after a pause, and wake what waited.

    Example: algasync resume --tenant acme
    """
    from services.cli import wiring
    from services.ledger import pauses

    with wiring.transaction(None) as connection:
        scope, company_id = _scope(connection, tenant, company, kind, fleet)
        woken = pauses.resume(
            connection, scope, actor=str(actor), tenant=tenant, company_id=company_id, kind=kind
        )
    _tell(scope, "resumed", woken is not None, "was not paused", operations_woken=woken or 0)


def _scope(
    connection: Connection, tenant: str | None, company: str | None, kind: str | None, fleet: bool
) -> tuple[Scope, UUID | None]:
    from services.cli import wiring
    from services.outbound.handlers import HANDLERS

    if fleet and (tenant or company or kind):
        raise _bad("--fleet", "stops everything; leave --tenant, --company and --kind out, or --fleet")
    if kind is not None and kind not in HANDLERS:
        raise _bad("--kind", f"{kind!r} is none of {', '.join(sorted(HANDLERS))}")
    if kind is not None and not (tenant and company):
        raise _bad("--kind", "is work of one company: give --tenant and --company too")
    if fleet:
        return "fleet", None
    if tenant is None:
        raise _bad("--tenant", "say what: --tenant, --tenant with --company, or --fleet")
    company_id = wiring.company_id(connection, tenant, company)
    if kind is not None:
        return "kind", company_id
    return ("company", company_id) if company_id else ("tenant", None)


def _bad(field: str, sentence: str) -> console.Told:
    return console.Told(sentence, code="invalid_scope", field=field, exit_code=console.USAGE)


def _tell(scope: str, done: str, changed: bool, otherwise: str, **more: int) -> None:
    if console.mode.json:
        console.result({"scope": scope, "changed": changed, **more})
    elif changed:
        counted = "".join(f"; {number} {name.replace('_', ' ')}" for name, number in more.items())
        console.say(f"The {scope} is {done}{counted}.")
    else:
        console.say(f"Nothing changed: the {scope} {otherwise}.")


def _show(active: list[Pause]) -> None:
    if console.mode.json:
        console.result({"paused": active})
    elif not active:
        console.say("Nothing is paused.")
    else:
        columns = ("SCOPE", "TENANT", "COMPANY", "KIND", "SINCE", "WHO", "REASON")
        console.table(
            columns,
            ((p.scope, p.tenant_id, p.company_id, p.kind, p.created_at, p.actor, p.reason) for p in active),
        )
