"""`algasync reconcile`: the zero-drift statement, and what is done about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from services.cli import console
from services.cli.console import FAILED, USAGE, Told
from services.cli.options import Actor, Company, DryRun, Json, Limit, Reason, Tenant, Yes, said

if TYPE_CHECKING:
    from services.connections.clients import Clients
    from services.connections.companies import Company as Connected
    from services.database import Database
    from services.inbound.reconcile.cost import Cost
    from services.inbound.reconcile.period import Period
    from services.inbound.reconcile.statement import Statement

app = typer.Typer(
    invoke_without_command=True,
    help="The zero-drift statement: re-read both books, match every document and cent, explain every difference.",
    epilog="Example: algasync reconcile --company 9341450000000001 --period 2026-10 --html october.html",
)

Written = Annotated[
    str | None, typer.Option("--period", help="A month 2026-10, a quarter 2026-Q4 or a year 2026.")
]
From = Annotated[
    datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day; default: the beginning.")
]
Until = Annotated[
    datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; default: today.")
]
Wanted = Annotated[UUID, typer.Argument(help="The statement, by its id.")]


@app.callback()
def reconcile(
    context: typer.Context,
    tenant: Tenant = None,
    company: Company = None,
    period: Written = None,
    first: From = None,
    last: Until = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write every item as CSV.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page to read and print.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Make a statement of receivables at the end of a period. Its cost in metered reads is said first.

    Exit code 1: something is unexplained. With --dry-run only the cost is said.
    """
    if context.invoked_subcommand is not None:
        return
    with _at(tenant, company) as (database, clients, connected):
        wanted = _period(database, connected, period, first, last)
        for path in (csv, html):
            _writable(path)
        cost = _cost(database, clients, connected)
        _say_cost(cost, wanted)
        if dry_run:
            if json:
                console.result({"reads": cost.reads, "counting": cost.counting, "basis": cost.basis})
            return
        if not yes and not json:
            typer.confirm("Make the statement?", abort=True)
        made = _make(database, clients, connected, wanted, cost, str(actor))
    _write(made, csv, html)
    _tell(made)
    raise typer.Exit(FAILED if made.unexplained else console.OK)


@app.command("list", epilog="Example: algasync reconcile list --tenant acme")
def list_(tenant: Tenant = None, company: Company = None, limit: Limit = 20, json: Json = False) -> None:
    """List the statements that were made, the newest first."""
    from services.inbound.reconcile import store

    with (
        _at(tenant, company) as (database, _, connected),
        database.transaction(connected.tenant_id) as connection,
    ):
        found = store.page(connection, connected.tenant_id, company_id=connected.company_id, limit=limit)
    if json:
        console.result({"statements": found})
        return
    console.table(
        ("STATEMENT", "PERIOD", "STATE", "UNEXPLAINED", "READS", "BY", "AGE", "WHY"),
        (
            (
                str(one.statement_id),
                f"{one.begins or ''}..{one.ends}",
                one.state,
                one.unexplained,
                one.reads,
                one.started_by,
                console.age(one.started_at),
                one.reason,
            )
            for one in found
        ),
    )


@app.command(
    epilog="Example: algasync reconcile accept 0199... invoice/inv-9 --tenant acme --reason 'rounding'"
)
def accept(
    statement: Wanted,
    item: Annotated[str, typer.Argument(help="The item's name in the statement, e.g. Invoice:71.")],
    tenant: Tenant = None,
    company: Company = None,
    reason: Reason = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Accept that an item differs just as it does, so that the next statement explains it by that."""
    from services.inbound.reconcile import store

    why = said(reason, "--reason", "a native invoice, agreed with the client")
    with (
        _at(tenant, company) as (database, _, connected),
        database.transaction(connected.tenant_id) as connection,
    ):
        store.accept(connection, statement, item, actor=str(actor), reason=why)
    if json:
        console.result({"accepted": item})
    else:
        console.say(f"{item} may stay as it is; the next statement says so.")


@contextmanager
def _at(tenant: str | None, company: str | None) -> Iterator[tuple[Database, Clients, Connected]]:
    """Servers and the company; its tenant need not be named when the company's realm id says whose it is."""
    from services.cli import wiring
    from services.configuration import configuration
    from services.connections.clients import Clients
    from services.database.engine import ALL_TENANTS
    from services.exceptions.attention import ConnectionAttention
    from services.inbound.reconcile import store

    with wiring.fleet_database(pool_size=4) as database:
        if tenant is None:
            with database.transaction(ALL_TENANTS) as connection:
                owners = store.owners(connection, company) if company is not None else []
            if len(owners) != 1:
                raise Told(
                    "whose books? Name the tenant, or one of its companies by realm id",
                    code="required",
                    field="--tenant",
                    exit_code=USAGE,
                )
            (tenant,) = owners
        with database.transaction(tenant) as connection:
            connected = wiring.chosen_company(connection, tenant, company)
        with closing(
            Clients(database, wiring.intuit(configuration()), ConnectionAttention(), tenant)
        ) as clients:
            yield database, clients, connected


def _period(
    database: Database, company: Connected, written: str | None, first: datetime | None, last: datetime | None
) -> Period:
    from services.inbound.reconcile import run
    from services.inbound.reconcile.period import Period

    if written is not None:
        if first is not None or last is not None:
            raise Told(
                "give --period, or --from and --to", code="invalid_value", field="--period", exit_code=USAGE
            )
        return Period.of(written)
    if last is not None:
        ends = last.date()
    else:
        with database.transaction(company.tenant_id) as connection:
            ends = run.today(connection, company)
    return Period.between(first.date() if first is not None else None, ends)


def _writable(path: Path | None) -> None:
    """Say that a file cannot be written before a read is spent on it."""
    if path is None:
        return
    there = path if path.exists() else path.parent
    if path.is_dir() or not there.exists() or not os.access(there, os.W_OK):
        raise Told(f"{path} cannot be written", code="unwritable", field=str(path), exit_code=USAGE)


def _cost(database: Database, clients: Clients, company: Connected) -> Cost:
    from services.inbound.reconcile import cost

    with database.transaction(company.tenant_id) as connection:
        known = cost.known(connection, company.company_id)
    return known or cost.ask(cost.patient(lambda call: clients.look(company.company_id, call)))


def _say_cost(cost: Cost, period: Period) -> None:
    rows = sum(cost.counts.values())
    how = (
        "by the rows of the last statement"
        if cost.basis == "last_statement"
        else f"and {cost.counting} were spent on counting"
    )
    console.note(f"{period}: {rows} rows are {cost.reads} metered reads, {how}.")


def _make(
    database: Database, clients: Clients, company: Connected, period: Period, cost: Cost, actor: str
) -> Statement:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from services.inbound.reconcile import run

    bars: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=console.mode.json) as progress:

        def show(entity: str, rows: int, expected: int) -> None:
            if entity not in bars:
                bars[entity] = progress.add_task(f"Reading {entity}", total=expected)
            progress.update(bars[entity], completed=rows, total=max(expected, rows))

        return run.make(
            database,
            lambda call: clients.look(company.company_id, call),
            company,
            period,
            cost,
            actor=actor,
            progress=show,
        )


def _write(made: Statement, csv: Path | None, html: Path | None) -> None:
    from services.inbound.reconcile import printed, sheet

    if csv is not None:
        csv.write_text(sheet.write(made), encoding="utf-8-sig", newline="")
    if html is not None:
        html.write_text(printed.page(made.to_json()), encoding="utf-8")


def _tell(made: Statement) -> None:
    if console.mode.json:
        console.result(made.to_json())
        return
    from messages.money import to_decimal
    from services.inbound.reconcile.items import CLASSES, MEANINGS

    def amount(minor: int) -> str:
        return f"{to_decimal(minor, made.home):,f}"

    console.facts(
        (
            ("company", f"{made.company_name or '?'} ({made.realm_id})"),
            ("period", str(made.period)),
            ("statement", made.statement_id),
            ("billing says", f"{amount(made.totals.ours)} {made.home}"),
            ("QuickBooks says", f"{amount(made.totals.quickbooks)} {made.home}"),
            ("metered reads", f"{made.reads} ({made.estimated_reads} foreseen)"),
        )
    )
    console.table(
        ("CLASS", "ITEMS", "DIFFERENCE", "NOTE"),
        (
            (name, made.counts[name], amount(made.totals.amounts[name]), MEANINGS[name])
            for name in CLASSES
            if made.counts[name] or name in {"matched", "unexplained"}
        ),
    )
    shown = made.listed("unexplained", "open_exceptions", "timing")[:50]
    if shown:
        console.table(
            ("ITEM", "CLASS", "NAME", "DIFFERENCE", "WHY"),
            ((one.key, one.class_, one.name, amount(one.home_difference), one.why) for one in shown),
        )
    verdict = f"{made.unexplained} unexplained" if made.unexplained else "Nothing is unexplained"
    console.say(f"{verdict}; everything else is accounted for to the cent.")
