"""`algasync csv`: invoices as files for QuickBooks' own import and credit notes to enter, connected or not."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from services.cli import console
from services.cli.options import Actor, DryRun, Json, Limit, OneTenant, Reason, said

if TYPE_CHECKING:
    from services.outbound.csv_files import Handover

app = typer.Typer(
    no_args_is_help=True,
    help="Invoices as CSV files for QuickBooks' own import, credit notes as lists to enter.",
)


def _day(written: str) -> date:
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise typer.BadParameter(f"{written!r} is no ISO date such as 2026-11-01") from None


def _id(written: str) -> UUID:
    try:
        return UUID(written)
    except ValueError:
        raise typer.BadParameter(f"{written!r} is no id of a hand-over; see: algasync csv list") from None


Id = Annotated[Any, typer.Argument(parser=_id, metavar="ID", help="The hand-over.")]
Invoices = Annotated[
    list[str] | None,
    typer.Option(
        "--invoice", help="Only this invoice or credit note, by number or id; several times for more."
    ),
]
Folder = Annotated[Path, typer.Option(file_okay=False, help="Where the files go; made when missing.")]


@app.command(
    epilog="Example: algasync csv export --tenant acme --from 2026-10-01 --to 2026-10-31 --folder october"
)
def export(
    tenant: OneTenant,
    from_: Annotated[
        Any, typer.Option("--from", parser=_day, metavar="DATE", help="Dated on this day or later.")
    ] = None,
    to: Annotated[
        Any, typer.Option("--to", parser=_day, metavar="DATE", help="Dated on this day or earlier.")
    ] = None,
    invoice: Invoices = None,
    folder: Folder = Path(),
    actor: Actor = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write the files, and hold what they carry back from export until it is found in QuickBooks.

    With --dry-run nothing is written and nothing held: it says what would be in the files, and what is missing.
    """
    from services.cli import wiring
    from services.outbound import csv_handover
    from services.outbound.csv_files import Selection

    selection = Selection(from_, to, invoice or ())
    with wiring.transaction(tenant) as connection:
        if dry_run:
            made = csv_handover.preview(connection, tenant, selection)
        else:
            made = csv_handover.hand_over(connection, tenant, selection, actor=str(actor))
            _save(folder, [(file.name, file.content) for file in made.files])
    _tell(made, folder)


@app.command("list", epilog="Example: algasync csv list --tenant acme")
def list_(tenant: OneTenant, limit: Limit = 50, json: Json = False) -> None:
    """List hand-overs, newest first; STANDING counts the documents that are held back for them."""
    from services.cli import wiring
    from services.outbound import csv_handover

    with wiring.transaction(tenant) as connection:
        found = csv_handover.listed(connection, tenant, limit=limit)
    if json:
        console.result({"handovers": found})
        return
    console.table(
        ("ID", "WHEN", "WHO", "FILES", "DOCUMENTS", "STANDING"),
        (
            (
                str(one.handover_id),
                one.created_at,
                one.actor,
                len(one.files),
                sum(file.invoices for file in one.files),
                one.standing,
            )
            for one in found
        ),
    )


@app.command(
    epilog="Example: algasync csv files 1f0c2f1e-5f62-4c8e-9d1f-0a2b3c4d5e6f --tenant acme --folder october"
)
def files(handover: Id, tenant: OneTenant, folder: Folder = Path(), json: Json = False) -> None:
    """Write the files of an earlier hand-over again, as they were."""
    from services.cli import wiring
    from services.outbound import csv_handover

    with wiring.transaction(tenant) as connection:
        past = csv_handover.past(connection, tenant, handover)
        written = [csv_handover.content(connection, tenant, handover, file.number) for file in past.files]
    _save(folder, written)
    if json:
        console.result({"files": [str(folder / name) for name, _ in written]})
        return
    for name, _ in written:
        console.say(str(folder / name))


@app.command(
    "take-back", epilog="Example: algasync csv take-back ID --tenant acme --reason 'imported by API instead'"
)
def take_back(
    handover: Id,
    tenant: OneTenant,
    invoice: Invoices = None,
    reason: Reason = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Say that the file, or some documents of it, were not imported or entered: they are exported like any other."""
    from services.cli import wiring
    from services.outbound import csv_handover

    why = said(reason, "--reason", "the file was never imported")
    with wiring.transaction(tenant) as connection:
        taken = csv_handover.take_back(
            connection, tenant, handover, invoice or (), actor=str(actor), reason=why
        )
    if json:
        console.result({"taken_back": taken})
        return
    console.say(
        f"{taken} document{'s' if taken != 1 else ''} taken back; they are exported when sync allows it."
    )


def _save(folder: Path, written: list[tuple[str, str]]) -> None:
    """Refuses to write over a file: whoever downloads twice should know."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, _ in written:
        if (folder / name).exists():
            raise console.Told(
                f"{folder / name} exists already; choose another --folder. Nothing was handed over",
                code="file_exists",
                field="--folder",
                exit_code=console.USAGE,
            )
    for name, text in written:
        (folder / name).write_text(text, encoding="utf-8", newline="")


def _tell(made: Handover, folder: Path) -> None:
    if console.mode.json:
        told = console.plain(made)
        console.result(told | {"files": [_without_content(one) for one in told["files"]]})
        return
    for file in made.files:
        where = folder / file.name if made.handover_id else file.name
        noun = "invoices" if file.kind == "invoice" else "credit notes to enter by hand"
        console.say(f"{where}: {file.invoices} {noun}, {file.rows} rows")
    for one in made.missing:
        console.note(f"not mapped: {one.kind} {one.key or 'default'}; the file says {one.name!r}")
    for left in made.left_out:
        console.note(f"left out: {left.number or left.document_id}: {left.why}")
    if made.handover_id:
        console.say(
            f"Hand-over {made.handover_id}. Once they are in QuickBooks, link them: algasync onboard, history step."
        )


def _without_content(file: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in file.items() if name != "content"}
