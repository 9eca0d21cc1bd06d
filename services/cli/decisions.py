"""`algasync operations decide`: going on with a failed operation in one of the ways that it offers."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import console
from services.cli.options import Actor, DryRun, Json, Reason, Tenant, said

if TYPE_CHECKING:
    from services.outbound.decisions import Offer


def _day(written: str) -> date:
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise typer.BadParameter(f"{written!r} is no ISO date such as 2026-11-01") from None


def decide(
    operation: Annotated[str, typer.Argument(help="The operation: its id, or the end of it.")],
    choice: Annotated[
        str | None, typer.Argument(help="One of what it offers; left out, the choices are listed.")
    ] = None,
    reason: Reason = None,
    date_: Annotated[
        Any,
        typer.Option(
            "--date", parser=_day, metavar="DATE", help="A day in the open period, for redate and offset."
        ),
    ] = None,
    tenant: Tenant = None,
    actor: Actor = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Decide how a failed operation goes on: books that are closed, a likely duplicate, a change on both sides.

    Without a choice, or with --dry-run, nothing changes and the choices are listed.

    Example: algasync operations decide 2f6c1b8a0d11 redate --date 2026-11-01 --reason 'agreed with the controller'
    """
    from services.cli import identity, wiring
    from services.outbound import decisions

    with wiring.transaction(tenant) as connection:
        operation_id = identity.find(connection, "operation", operation)
        if choice is None:
            _show(decisions.offered(connection, operation_id))
            return
        why = said(reason, "--reason", "agreed with the controller")
        if dry_run:
            offer = decisions.check(connection, operation_id, choice, reason=why, book_on=date_)
            _show(offer, would=choice)
            return
        decided = decisions.decide(
            connection, operation_id, choice, actor=str(actor), reason=why, book_on=date_
        )
    if json:
        console.result({"operation": decided, "choice": choice})
        return
    console.say(
        f"Decided: {choice}. {decided.kind} of {decided.document_kind} {decided.document_id} "
        f"starts attempt {decided.attempt}."
    )


def _show(offer: Offer, would: str | None = None) -> None:
    if console.mode.json:
        console.result({"offer": offer, "would": would})
        return
    if not offer.choices:
        console.say(
            f"Operation {offer.operation_id} is {offer.state} and offers no choices; nothing to decide."
        )
        return
    console.say(f"{offer.title}\n{offer.happened} {offer.why}\n{offer.fix}\n")
    console.table(
        ("CHOICE", "WHAT", "NEEDS", "DATE UNLESS GIVEN"),
        ((one.choice, one.label, ", ".join(one.needs), str(one.default_date or "")) for one in offer.choices),
    )
    if would is not None:
        console.note(
            f"would go on with {would!r} in a new attempt; nothing was changed, because of --dry-run"
        )
