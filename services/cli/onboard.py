"""`algasync onboard`: the reconciliation wizard in the terminal, step by step or one command a step."""

from __future__ import annotations

import csv
import json as json_
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from services.cli import console
from services.cli.console import FAILED, USAGE, Told
from services.cli.options import Actor, Company, Json, Limit, OneTenant, Yes

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.connections.clients import Clients
    from services.database import Database
    from services.onboarding.runs import Run

app = typer.Typer(
    invoke_without_command=True,
    help="The reconciliation wizard: link what QuickBooks has already, then go live without a duplicate.",
)

Listed = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="The PSA's list, .json or .csv; see docs.")
]
Status = Annotated[str, typer.Option(help="Only this status.")]
ClientId = Annotated[str, typer.Argument(help="Our id of the client, or of the billing profile.")]
Kind = Annotated[str, typer.Option(help="client or billing_profile.")]
Currency = Annotated[str, typer.Option(help="Currency of the client, where the list has one.")]
Cutover = Annotated[
    datetime,
    typer.Option(formats=["%Y-%m-%d"], help="Invoices and credit notes dated before it are history."),
]


@dataclass(frozen=True, slots=True)
class Desk:
    """What every step needs."""

    database: Database
    clients: Clients
    run: Run
    actor: str

    def release(self, connection: Connection, tenant: str, cause: str) -> None:
        """Start again what failed for a missing link."""
        from services.exceptions import causes

        causes.release(connection, tenant, cause, self.actor, "its customer was linked")

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction of the tenant."""
        with self.database.transaction(self.run.tenant_id) as connection:
            yield connection


@app.callback(
    epilog="Example: algasync onboard --tenant acme --client-list clients.csv --document-list invoices.csv"
)
def onboard(
    context: typer.Context,
    tenant: OneTenant,
    company: Company = None,
    client_list: Listed = None,
    document_list: Listed = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Read the company again from the start.")
    ] = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Walk through the steps, asking; what was left is taken up. With --json: read, and say where it stands.

    Nothing is written to QuickBooks, but customers that you tell it to create.
    """
    context.obj = stack = ExitStack()
    context.call_on_close(stack.close)
    context.meta["desk"] = (tenant, company, str(actor), client_list, document_list, refresh)
    if context.invoked_subcommand is not None:
        return
    desk = _desk(context)
    _read(desk)
    if json:
        console.result(_standing(desk))
        return
    from services.cli import onboard_steps

    onboard_steps.walk(desk)


@app.command(epilog="Example: algasync onboard --tenant acme customers --status suggested --json")
def customers(
    context: typer.Context,
    status: Status = "",
    accept_exact: Annotated[bool, typer.Option("--accept-exact", help="Link every exact match.")] = False,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """Show which client is which customer; with --accept-exact link the exact ones."""
    from services.onboarding import customers as rules

    desk = _desk(context)
    _read(desk)
    accepted = 0
    if accept_exact:
        accepted = rules.accept_exact(desk.database, desk.run, actor=desk.actor, on_mapping_set=desk.release)
    with desk.transaction() as connection:
        plan = rules.plan(connection, desk.run)
    shown = [match for match in plan if status in ("", match.status)][:limit]
    if json:
        console.result({"accepted": accepted, "counts": rules.count(plan), "matches": shown})
        return
    console.table(
        ("CLIENT", "NAME", "STATUS", "BEST", "SCORE", "WHY"),
        (
            (
                match.client.id,
                match.client.name,
                match.status,
                f"{match.candidates[0].name} ({match.candidates[0].id})" if match.candidates else "",
                match.candidates[0].score if match.candidates else "",
                match.why,
            )
            for match in shown
        ),
    )
    console.say(f"{accepted} linked now; " + _words(rules.count(plan)))


@app.command("link-customer", epilog="Example: algasync onboard --tenant acme link-customer cl-17 58")
def link_customer(
    context: typer.Context,
    client: ClientId,
    customer: Annotated[str, typer.Argument(help="The customer's id in QuickBooks.")],
    kind: Kind = "client",
    currency: Currency = "",
    json: Json = False,
) -> None:
    """Link one client to the customer you choose."""
    from services.onboarding import customers as rules

    desk = _desk(context)
    _read(desk)
    with desk.transaction() as connection:
        at = (kind, client, currency)
        rules.link(connection, desk.run, at, customer, actor=desk.actor, on_mapping_set=desk.release)
    _done(json, {"client": client, "customer": customer}, f"{kind} {client} is customer {customer}.")


@app.command("create-customer", epilog="Example: algasync onboard --tenant acme create-customer cl-17")
def create_customer(
    context: typer.Context,
    client: ClientId,
    kind: Kind = "client",
    currency: Currency = "",
    name: Annotated[str, typer.Option(help="Its name in QuickBooks; default is the client's.")] = "",
    json: Json = False,
) -> None:
    """Create a client's customer (a billing profile's sub-customer) in QuickBooks and link it."""
    from services.onboarding import creation

    desk = _desk(context)
    _read(desk)
    made = creation.create(
        desk.database,
        desk.clients,
        desk.run,
        (kind, client, currency),
        actor=desk.actor,
        on_mapping_set=desk.release,
        display_name=name,
    )
    _done(json, {"client": client, "customer": made}, f"Created customer {made} for {kind} {client}.")


@app.command(epilog="Example: algasync onboard --tenant acme history --status review --json")
def history(
    context: typer.Context,
    status: Status = "",
    link_confident: Annotated[
        bool, typer.Option("--link-confident", help="Link every confident match.")
    ] = False,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """Show which invoice and credit note is which in QuickBooks; with --link-confident link the sure ones."""
    from services.onboarding import history as rules

    desk = _desk(context)
    _read(desk)
    linked = rules.link_confident(desk.database, desk.run, actor=desk.actor) if link_confident else 0
    with desk.transaction() as connection:
        found = rules.match(connection, desk.run)
    shown = [match for match in found if status in ("", match.status)][:limit]
    if json:
        console.result({"linked": linked, "counts": rules.count(found), "matches": shown})
        return
    console.table(
        ("KIND", "NUMBER", "DATE", "STATUS", "QUICKBOOKS", "WHY"),
        (
            (
                match.document.kind,
                match.document.number,
                match.document.date,
                match.status,
                ", ".join(f"{there.number} ({there.id})" for there in match.found),
                match.why,
            )
            for match in shown
        ),
    )
    console.say(f"{linked} linked now; " + _words(rules.count(found)))


@app.command(
    "link-document", epilog="Example: algasync onboard --tenant acme link-document invoice inv-9 1042"
)
def link_document(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="invoice or credit_note.")],
    document: Annotated[str, typer.Argument(help="Our id of it.")],
    external_id: Annotated[str, typer.Argument(metavar="QUICKBOOKS_ID", help="Its id in QuickBooks.")],
    json: Json = False,
) -> None:
    """Link one document after a look; nothing is exported."""
    from services.onboarding import history as rules

    if kind not in rules.ENTITIES:
        raise Told("kind is invoice or credit_note", code="invalid_value", field="kind", exit_code=USAGE)
    desk = _desk(context)
    _read(desk)
    with desk.transaction() as connection:
        rules.link(connection, desk.run, kind, document, external_id, actor=desk.actor)
    _done(json, {"document": document, "external_id": external_id}, f"{kind} {document} is {external_id}.")


@app.command("dry-run", epilog="Example: algasync onboard --tenant acme dry-run --cutover 2026-12-01")
def dry_run(context: typer.Context, cutover: Cutover, limit: Limit = 500, json: Json = False) -> None:
    """Count and sum what waits, and say what the first sync would do with each document."""
    from services.onboarding import golive
    from services.outbound.handlers import HANDLERS

    desk = _desk(context)
    with desk.transaction() as connection:
        waiting = golive.waiting(connection, desk.run, HANDLERS, cutover.date())
        steps = golive.dry_run(connection, desk.run, HANDLERS, cutover.date(), limit=limit)
    if json:
        console.result({"waiting": waiting, "counts": golive.count(steps), "steps": steps})
        return
    console.table(
        ("NUMBER", "DATE", "CLIENT", "WOULD", "WHY"),
        ((one.number, one.day, one.client, one.would, one.why) for one in steps),
    )
    for one in waiting:
        console.say(_sum(one))


@app.command(
    "go-live", epilog="Example: algasync onboard --tenant acme go-live --cutover 2026-12-01 --waiting export"
)
def go_live(
    context: typer.Context,
    cutover: Cutover,
    waiting: Annotated[str, typer.Option(help="What waits is to be: export or handled.")],
    auto_sync: Annotated[bool, typer.Option(help="Switch automatic sync on.")] = True,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Set the cutover, settle what waits, switch automatic sync on, and finish the run."""
    desk = _desk(context)
    if not yes and not json:
        typer.confirm(
            f"Go live with everything dated {cutover.date()} or later; what waits: {waiting}?", abort=True
        )
    handled = switch_on(desk, cutover.date(), waiting, auto_sync=auto_sync)
    _done(
        json,
        {"handled": handled, "cutover": cutover.date()},
        f"Live from {cutover.date()} on; {handled} marked as handled.",
    )


@app.command(epilog="Example: algasync onboard --tenant acme undo 0199c1de-7b1e-7000-8000-000000000000")
def undo(
    context: typer.Context,
    run: Annotated[UUID | None, typer.Argument(help="The run; default is the latest.")] = None,
    json: Json = False,
) -> None:
    """Take back what a run did: its links, mappings and settings. Nothing is undone in QuickBooks."""
    from services.onboarding import runs
    from services.onboarding import undo as rules

    desk = _desk(context, start=False)
    with desk.transaction() as connection:
        wanted = run
        if wanted is None:
            known = runs.listed(connection, desk.run.tenant_id, desk.run.company_id)
            wanted = next((one.run_id for one in known if one.state != "undone"), None)
        if wanted is None:
            raise Told("there is no run to undo", code="no_run", exit_code=FAILED)
        done = rules.undo(connection, wanted, actor=desk.actor, on_mapping_set=desk.release)
    if json:
        console.result({"run": wanted, "undone": done.undone, "kept": done.kept})
        return
    console.say("Taken back: " + (_words(done.undone) or "nothing"))
    for line in done.kept:
        console.say(f"- {line}")


def switch_on(desk: Desk, cutover: date, waiting: str, *, auto_sync: bool = True) -> int:
    """The last step."""
    from services.onboarding import golive
    from services.outbound.handlers import HANDLERS

    if waiting not in ("export", "handled"):
        said = f"say export or handled, not {waiting!r}"
        raise Told(said, code="invalid_value", field="--waiting", exit_code=USAGE)
    return golive.go_live(
        desk.database,
        desk.run,
        HANDLERS,
        cutover=cutover,
        decision="export" if waiting == "export" else "handled",
        actor=desk.actor,
        auto_sync=auto_sync,
    )


def rows(path: Path) -> list[dict[str, Any]]:
    """The PSA's list from a file: a JSON array of objects, or CSV whose header names the fields."""
    try:
        written = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            found = json_.loads(written)
            if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
                raise ValueError("it is no array of objects")
            return found
        return list(csv.DictReader(written.splitlines(), strict=True))
    except (ValueError, csv.Error, OSError) as unreadable:
        raise Told(
            f"{path} cannot be read: {unreadable}", code="unreadable", field=str(path), exit_code=USAGE
        ) from None


def _desk(context: typer.Context, *, start: bool = True) -> Desk:
    """Servers, lists and the open run. Without `start` the newest run will do."""
    from services.cli import wiring
    from services.cli.mappings import _company
    from services.cli.parts import intuit
    from services.configuration import configuration
    from services.connections.clients import Clients
    from services.exceptions.attention import ConnectionAttention
    from services.onboarding import handover, runs

    tenant, company, actor, client_list, document_list, refresh = context.meta["desk"]
    stack: ExitStack = context.find_root().obj or context.obj
    database = stack.enter_context(wiring.fleet_database())
    clients = Clients(database, intuit(configuration()), ConnectionAttention(), tenant)
    stack.callback(clients.close)
    with database.transaction(tenant) as connection:
        company_id = _company(connection, tenant, company)
        if client_list is not None:
            handover.put_clients(connection, tenant, rows(client_list))
        if document_list is not None:
            handover.put_documents(connection, tenant, rows(document_list))
        known = [] if start else runs.listed(connection, tenant, company_id)
        run = known[0] if known else runs.start(connection, tenant, company_id, actor)
        if refresh and start:
            run = runs.refresh(connection, run.run_id)
    return Desk(database, clients, run, actor)


def _read(desk: Desk) -> None:
    """Read the company, with progress on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from services.onboarding import reading
    from services.onboarding.runs import Reading

    bars: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=console.mode.json) as progress:

        def show(now: Reading) -> None:
            if now.entity not in bars:
                bars[now.entity] = progress.add_task(f"Reading {now.entity}", total=now.expected)
            progress.update(bars[now.entity], completed=now.taken, total=max(now.expected, now.taken))

        reading.read(desk.database, desk.clients, desk.run, progress=show)


def _standing(desk: Desk) -> dict[str, Any]:
    from services.onboarding import customers as customers_
    from services.onboarding import history as history_
    from services.onboarding import runs

    with desk.transaction() as connection:
        return {
            "run": desk.run,
            "reading": list(runs.readings(connection, desk.run.run_id).values()),
            "customers": customers_.count(customers_.plan(connection, desk.run)),
            "history": history_.count(history_.match(connection, desk.run)),
            "did": runs.summary(connection, desk.run.run_id),
        }


def _done(as_json: bool, value: dict[str, Any], sentence: str) -> None:
    if as_json:
        console.result(value)
    else:
        console.say(sentence)


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _sum(one: Any) -> str:
    from messages.money import to_decimal

    side = "before the cutover" if one.before_cutover else "from the cutover on"
    amount = to_decimal(one.total, one.currency) if one.currency else ""
    return f"{one.documents} x {one.kind} wait {side}: {amount} {one.currency} ({one.oldest} to {one.newest})"
