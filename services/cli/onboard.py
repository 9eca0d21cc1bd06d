"""`algasync onboard`: the reconciliation wizard in the terminal, step by step or one command a step."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from services.cli import console, onboard_books
from services.cli.console import FAILED, USAGE, Told
from services.cli.options import Actor, Company, Json, Limit, OneTenant, Tenant, Yes

app = typer.Typer(
    invoke_without_command=True,
    help="The reconciliation wizard: link what QuickBooks has already, then go live without a duplicate.",
    epilog="Example: algasync onboard --tenant acme",
)

Listed = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="The PSA's list, .json or .csv.")
]
Status = Annotated[str, typer.Option(help="Only this status, e.g. suggested or review.")]
ClientId = Annotated[str, typer.Argument(help="Our id of the client, or of the billing profile.")]
Kind = Annotated[str, typer.Option(help="client or billing_profile.")]
Currency = Annotated[str, typer.Option(help="Currency of the client, where the list names one.")]
Cutover = Annotated[
    datetime,
    typer.Option(formats=["%Y-%m-%d"], help="Invoices and credit notes dated before it are history."),
]


@app.callback()
def onboard(
    context: typer.Context,
    tenant: Tenant = None,
    company: Company = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Walk through the steps, asking; what was left is taken up. With --json: read, and say where it stands.

    Nothing is written to QuickBooks but customers that you tell it to create.
    """
    if context.invoked_subcommand is not None:
        return
    if tenant is None:
        raise Told("whose wizard?", code="required", field="--tenant", exit_code=USAGE)
    from services.cli.onboard_desk import at_desk, standing

    with at_desk(tenant, company, actor) as desk:
        if json:
            console.result(standing(desk))
            return
        from services.cli import onboard_steps

        onboard_steps.walk(desk)


@app.command("hand-over", epilog="Example: algasync onboard hand-over --tenant acme --clients clients.csv")
def hand_over(
    tenant: OneTenant,
    clients: Listed = None,
    documents: Listed = None,
    services: Listed = None,
    json: Json = False,
) -> None:
    """Take the PSA's lists over: clients, invoices and credit notes, services. Listed again means replaced."""
    from services.cli import wiring
    from services.cli.onboard_desk import rows
    from services.onboarding import handover

    files = {"clients": clients, "documents": documents, "services": services}
    given = {name: rows(file) if file else [] for name, file in files.items()}
    with wiring.transaction(tenant) as connection:
        taken = {
            "clients": handover.put_clients(connection, tenant, given["clients"]),
            "documents": handover.put_documents(connection, tenant, given["documents"]),
            "services": handover.put_services(connection, tenant, given["services"]),
        }
    said = ", ".join(f"{number} {name}" for name, number in taken.items())
    _done(json, taken, f"Taken over: {said}.")


@app.command(epilog="Example: algasync onboard read --tenant acme --refresh")
def read(
    tenant: OneTenant,
    company: Company = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Read everything again.")] = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Read customers, invoices and credit memos of the company, and say where the run stands."""
    from services.cli.onboard_desk import at_desk, counted, standing

    with at_desk(tenant, company, actor, refresh=refresh) as desk:
        found = standing(desk)
    _done(json, found, f"Customers: {counted(found['customers'])}. History: {counted(found['history'])}.")


@app.command(epilog="Example: algasync onboard customers --tenant acme --status suggested --json")
def customers(
    tenant: OneTenant,
    company: Company = None,
    status: Status = "",
    accept_exact: Annotated[bool, typer.Option("--accept-exact", help="Link every exact match.")] = False,
    limit: Limit = 100,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Show which client is which customer; with --accept-exact link the exact ones."""
    from services.cli.onboard_desk import at_desk, counted
    from services.onboarding import customers as rules
    from services.onboarding.customer_matches import count

    accepted = 0
    with at_desk(tenant, company, actor) as desk:
        if accept_exact:
            accepted = rules.accept_exact(
                desk.database, desk.run, actor=desk.actor, on_mapping_set=desk.release
            )
        plan = rules.plan(desk.database, desk.run)
    shown = [match for match in plan if status in ("", match.status)][:limit]
    if json:
        console.result({"accepted": accepted, "counts": count(plan), "matches": shown})
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
    console.say(f"{accepted} linked now; {counted(count(plan))}")


@app.command("link-customer", epilog="Example: algasync onboard link-customer cl-17 58 --tenant acme")
def link_customer(
    client: ClientId,
    customer: Annotated[str, typer.Argument(help="The customer's id in QuickBooks.")],
    tenant: OneTenant,
    company: Company = None,
    kind: Kind = "client",
    currency: Currency = "",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Link one client to the customer you choose."""
    from services.cli.onboard_desk import at_desk
    from services.onboarding import customers as rules

    with at_desk(tenant, company, actor) as desk, desk.transaction() as connection:
        at = (kind, client, currency)
        rules.link(connection, desk.run, at, customer, actor=desk.actor, on_mapping_set=desk.release)
    _done(json, {"client": client, "customer": customer}, f"{kind} {client} is customer {customer}.")


@app.command("create-customer", epilog="Example: algasync onboard create-customer cl-17 --tenant acme")
def create_customer(
    client: ClientId,
    tenant: OneTenant,
    company: Company = None,
    kind: Kind = "client",
    currency: Currency = "",
    name: Annotated[str, typer.Option(help="Its name in QuickBooks; default is the client's.")] = "",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Create a client's customer (a billing profile's sub-customer) in QuickBooks and link it."""
    from services.cli.onboard_desk import at_desk
    from services.onboarding import creation

    with at_desk(tenant, company, actor) as desk:
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


@app.command(epilog="Example: algasync onboard history --tenant acme --status review --json")
def history(
    tenant: OneTenant,
    company: Company = None,
    status: Status = "",
    link_confident: Annotated[
        bool, typer.Option("--link-confident", help="Link every confident match.")
    ] = False,
    limit: Limit = 100,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Show which invoice and credit note is which in QuickBooks; with --link-confident link the sure ones."""
    from services.cli.onboard_desk import at_desk, counted
    from services.onboarding import history as rules
    from services.onboarding.history_matches import count

    with at_desk(tenant, company, actor) as desk:
        linked = rules.link_confident(desk.database, desk.run, actor=desk.actor) if link_confident else 0
        found = rules.match(desk.database, desk.run)
    shown = [match for match in found if status in ("", match.status)][:limit]
    if json:
        console.result({"linked": linked, "counts": count(found), "matches": shown})
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
    console.say(f"{linked} linked now; {counted(count(found))}")


@app.command(
    "link-document", epilog="Example: algasync onboard link-document invoice inv-9 1042 --tenant acme"
)
def link_document(
    kind: Annotated[str, typer.Argument(help="invoice or credit_note.")],
    document: Annotated[str, typer.Argument(help="Our id of it.")],
    external_id: Annotated[str, typer.Argument(metavar="QUICKBOOKS_ID", help="Its id in QuickBooks.")],
    tenant: OneTenant,
    company: Company = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Link one document after a look; nothing is exported."""
    from services.cli.onboard_desk import at_desk
    from services.onboarding import history as rules
    from services.onboarding.history_matches import ENTITIES

    if kind not in ENTITIES:
        raise Told("kind is invoice or credit_note", code="invalid_value", field="kind", exit_code=USAGE)
    with at_desk(tenant, company, actor) as desk, desk.transaction() as connection:
        rules.link(connection, desk.run, kind, document, external_id, actor=desk.actor)
    _done(json, {"document": document, "external_id": external_id}, f"{kind} {document} is {external_id}.")


app.command("items")(onboard_books.items)
app.command("link-item")(onboard_books.link_item)
app.command("payments")(onboard_books.payments)


@app.command("dry-run", epilog="Example: algasync onboard dry-run --tenant acme --cutover 2026-12-01")
def dry_run(
    tenant: OneTenant,
    cutover: Cutover,
    company: Company = None,
    limit: Limit = 500,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Count and sum what waits, and say what the first sync would do with each document."""
    from services.cli.onboard_desk import at_desk, summed
    from services.onboarding import golive
    from services.outbound.handlers import HANDLERS

    day = cutover.date()
    with at_desk(tenant, company, actor, read=False) as desk, desk.transaction() as connection:
        waiting = golive.waiting(connection, desk.run, HANDLERS, day)
        steps = golive.dry_run(connection, desk.run, HANDLERS, day, limit=limit)
    if json:
        console.result({"waiting": waiting, "counts": golive.count(steps), "steps": steps})
        return
    console.table(
        ("NUMBER", "DATE", "CLIENT", "WOULD", "WHY"),
        ((one.number, one.day, one.client, one.would, one.why) for one in steps),
    )
    for one in waiting:
        console.say(summed(one))


@app.command(
    "go-live", epilog="Example: algasync onboard go-live --tenant acme --cutover 2026-12-01 --waiting export"
)
def go_live(
    tenant: OneTenant,
    cutover: Cutover,
    waiting: Annotated[str, typer.Option(help="What waits is to be: export or handled.")],
    company: Company = None,
    auto_sync: Annotated[bool, typer.Option(help="Switch automatic sync on.")] = True,
    yes: Yes = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Set the cutover, settle what waits, switch automatic sync on, and finish the run."""
    from services.cli import onboard_desk

    day = cutover.date()
    if not yes and not json:
        typer.confirm(f"Go live with everything dated {day} or later; what waits: {waiting}?", abort=True)
    with onboard_desk.at_desk(tenant, company, actor, read=False) as desk:
        handled = onboard_desk.go_live(desk, day, waiting, auto_sync=auto_sync)
    _done(json, {"cutover": day, "handled": handled}, f"Live from {day} on; {handled} marked as handled.")


@app.command(epilog="Example: algasync onboard undo --tenant acme")
def undo(
    tenant: OneTenant,
    run: Annotated[
        UUID | None, typer.Argument(help="The run; default is the latest that is not undone.")
    ] = None,
    company: Company = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Take back what a run did: its links, mappings and settings. Nothing is undone in QuickBooks."""
    from services.cli.onboard_desk import at_desk, counted
    from services.onboarding import runs
    from services.onboarding import undo as rules

    with at_desk(tenant, company, actor, start=False) as desk, desk.transaction() as connection:
        known = runs.listed(connection, tenant, desk.run.company_id)
        wanted = run or next((one.run_id for one in known if one.state != "undone"), None)
        if wanted is None:
            raise Told("there is no run to undo", code="no_run", exit_code=FAILED)
        done = rules.undo(connection, wanted, actor=desk.actor, on_mapping_set=desk.release)
    kept = "".join(f"\n- {line}" for line in done.kept)
    found = {"run": wanted, "undone": done.undone, "kept": done.kept}
    _done(json, found, f"Taken back: {counted(done.undone) or 'nothing'}{kept}")


def _done(as_json: bool, value: dict[str, Any], sentence: str) -> None:
    if as_json:
        console.result(value)
    else:
        console.say(sentence)
