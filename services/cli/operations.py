"""`algasync operations`: what we owe QuickBooks, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import console
from services.cli.options import After, Company, Json, Limit, Tenant, next_page

if TYPE_CHECKING:
    from services.ledger.operations import Operation

app = typer.Typer(no_args_is_help=True, help="Operations: what we owe QuickBooks, and what became of it.")


@app.command("list", epilog="Example: algasync operations list --tenant acme --state waiting")
def list_(
    tenant: Tenant = None,
    state: Annotated[
        str | None,
        typer.Option(help="queued, running, waiting, scheduled, succeeded, skipped, failed or discarded."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind, e.g. export_invoice.")] = None,
    company: Company = None,
    document: Annotated[str | None, typer.Option(help="Only this document, as kind/id.")] = None,
    limit: Limit = 50,
    after: After = None,
    json: Json = False,
) -> None:
    """List operations, newest first, with counts by state."""
    from services.cli import wiring
    from services.ledger import operations

    if state is not None and state not in list(operations.State):
        raise _bad("--state", f"{state!r} is none of {', '.join(operations.State)}")
    about = document.partition("/") if document else None
    if about is not None and not (about[0] and about[2]):
        raise _bad("--document", f"{document!r} is not kind/id, such as invoice/0190b3c4-7d1e")
    with wiring.transaction(tenant) as connection:
        page = operations.page(
            connection,
            tenant,
            state=state,
            kind=kind,
            company_id=wiring.company_id(connection, tenant, company),
            document=(about[0], about[2]) if about else None,
            after=after,
            limit=limit,
        )
        counts = operations.counts(connection)
    if json:
        console.result({"operations": page.operations, "counts": counts, "next": next_page(page.after)})
        return
    console.table(
        ("ID", "AGE", "STATE", "KIND", "DOCUMENT", "TRY", "REASON"),
        (
            (o.operation_id, console.age(o.created_at), o.state, o.kind, _document(o), o.attempt, _why(o))
            for o in page.operations
        ),
    )
    console.note(", ".join(f"{number} {name}" for name, number in counts.items()))
    if page.after:
        console.note(f"more: --after {next_page(page.after)}")


@app.command(epilog="Example: algasync operations show 0190b3c4-7d1e-7a55-9c1d-2f6c1b8a0d11")
def show(
    operation: Annotated[str, typer.Argument(help="The operation: its id, or the end of it.")],
    tenant: Tenant = None,
    json: Json = False,
) -> None:
    """Show one: its state, what it waits for, the stored call, its letters and its history."""
    from services.cli import identity, overview, wiring
    from services.exceptions import archive
    from services.ledger import operations, timeline
    from services.refusals import missing

    with wiring.transaction(tenant) as connection:
        operation_id = identity.find(connection, "operation", operation)
        found = operations.get(connection, operation_id)
        if found is None:
            raise missing(f"there is no operation {operation_id}")
        waits = overview.waits(connection, operation_id)
        letters = archive.page(connection, archive.Filters(states=(), operation_id=operation_id)).letters
        entries = timeline.read(connection, found.tenant_id, found.document_kind, found.document_id)
    history = [entry for entry in entries if entry.details.get("operation_id") == str(operation_id)]
    if json:
        console.result({"operation": found, "waits": waits, "letters": letters, "history": history})
        return
    console.facts((name.replace("_", " "), value) for name, value in console.plain(found).items())
    for wait in waits:
        console.say(f"waits for  {wait.condition}:{wait.key}")
    if letters:
        console.say("\nDead letters")
        rows = ((x.letter_id, console.age(x.created_at), x.state, x.attempt, x.message) for x in letters)
        console.table(("ID", "AGE", "STATE", "TRY", "MESSAGE"), rows)
    console.say("\nHistory")
    console.table(
        ("WHEN", "WHO", "DID", "DETAILS"),
        ((entry.at, entry.actor, entry.action, entry.details) for entry in history),
    )


def _document(operation: Operation) -> str:
    return f"{operation.document_kind}/{operation.document_id}"


def _why(operation: Operation) -> str | None:
    return operation.reason or operation.reason_code


def _bad(field: str, sentence: str) -> console.Told:
    return console.Told(sentence, code="invalid_value", field=field, exit_code=console.USAGE)
