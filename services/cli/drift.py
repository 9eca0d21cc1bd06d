"""`algasync drift`: documents that were changed, voided or deleted in QuickBooks, and what to do about each."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from services.cli import console
from services.cli.options import Actor, Company, Json, Limit, OneTenant, Reason, said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.inbound.resolutions import Resolution

app = typer.Typer(no_args_is_help=True, help="Documents that were changed in QuickBooks.")

Kind = Annotated[str, typer.Argument(help="invoice, credit_note or credit_application.")]
Document = Annotated[str, typer.Argument(help="Billing's id of the document.")]


class Way(StrEnum):
    """Resolutions as they are typed."""

    RE_EXPORT = "re-export"
    ACCEPT = "accept"
    MARK_VOID = "mark-void"
    RECREATE = "recreate"
    IGNORE = "ignore"


_WAYS: Final[Mapping[Way, Resolution]] = {
    Way.RE_EXPORT: "re_export",
    Way.ACCEPT: "accept",
    Way.MARK_VOID: "mark_void",
    Way.RECREATE: "recreate",
    Way.IGNORE: "ignore",
}


@app.command("list", epilog="Example: algasync drift list --tenant acme")
def list_(
    tenant: OneTenant,
    company: Company = None,
    closed: Annotated[bool, typer.Option("--closed", help="Settled ones too.")] = False,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List documents that differ, with what differs."""
    from services.cli import wiring
    from services.inbound import drift

    with wiring.transaction(tenant) as connection:
        found = drift.page(
            connection,
            tenant,
            states=("open", "closed") if closed else ("open",),
            company_id=wiring.company_id(connection, tenant, company),
            limit=limit,
        )
    if json:
        console.result({"drift": found})
        return
    console.table(
        ("KIND", "DOCUMENT", "CHANGE", "AGE", "STATE", "DETAILS"),
        (
            (
                one.kind,
                one.document_id,
                one.change,
                console.age(one.detected_at),
                one.state,
                one.resolution or "; ".join(_in_words(each) for each in one.differences),
            )
            for one in found
        ),
        obvious={"STATE": "open"},
    )


@app.command(
    epilog="Example: algasync drift resolve invoice inv-7 --by re-export --reason 'edited by mistake' --tenant acme"
)
def resolve(
    kind: Kind,
    document: Document,
    by: Annotated[
        Way,
        typer.Option(
            help="re-export: billing's version goes back. accept: QuickBooks' version is agreed on. mark-void: it is "
            "void in both. recreate: it is exported anew. ignore: the books differ here, and nobody is asked again."
        ),
    ],
    tenant: OneTenant,
    company: Company = None,
    reason: Reason = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Settle a difference; refused, with the reason, where it does not fit what QuickBooks has now."""
    from services.cli import wiring
    from services.inbound import resolutions

    why = said(reason, "--reason", "agreed with the bookkeeper")
    with wiring.transaction(tenant) as connection:
        chosen = wiring.chosen_company(connection, tenant, company)
        operation_id = resolutions.resolve(
            connection, chosen.company_id, kind, document, _WAYS[by], actor=str(actor), reason=why
        )
    if json:
        console.result({"resolution": _WAYS[by], "operation_id": operation_id})
    else:
        console.say("Settled." if operation_id is None else f"Operation {operation_id} does it.")


def _in_words(difference: dict[str, Any]) -> str:
    return f"{difference['field']}: {difference['agreed'] or '-'} -> {difference['observed'] or '-'}"
