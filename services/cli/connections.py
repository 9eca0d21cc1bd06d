"""`algasync connections`: QuickBooks companies from the Intuit app's keys to the disconnect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import console
from services.cli.options import Actor, Company, Json, Moment, OneTenant, Tenant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.connections.companies import Company as Connected
    from services.connections.intuit import Card, Intuit
    from services.ledger.timeline import Entry

app = typer.Typer(
    no_args_is_help=True, help="Connected QuickBooks companies, and the Intuit app they connect with."
)
keys = typer.Typer(no_args_is_help=True, help="The tenant's own Intuit app: client id and secret.")
app.add_typer(keys, name="credentials")

OneCompany = Annotated[str, typer.Option("--company", help="Our id, the realm id or the exact name.")]


@app.command("list", epilog="Example: algasync connections list --tenant acme")
def list_(tenant: Tenant = None, json: Json = False) -> None:
    """List connected companies: state, default, when the authorization ends, whether sync is paused."""
    from services.cli import overview, wiring

    with wiring.transaction(tenant) as connection:
        found = overview.companies(connection)
    if json:
        console.result({"connections": found})
        return
    console.table(
        ("NAME", "REALM", "KIND", "TENANT", "STATE", "DEFAULT", "UNFINISHED", "UNTIL", "NOTE"),
        (
            (
                one.name,
                one.realm_id,
                one.environment,
                one.tenant_id,
                one.state,
                "yes" if one.is_default else "",
                one.unfinished,
                one.refresh_expires_at and one.refresh_expires_at.date(),
                one.attention_reason or ("paused" if one.paused else ""),
            )
            for one in found
        ),
        obvious={"TENANT": tenant, "UNFINISHED": "0"},
    )


@app.command(epilog="Example: algasync connections health --tenant acme --company 4620816365291234567")
def health(tenant: OneTenant, company: Company = None, json: Json = False) -> None:
    """Show the Sync Health card: cycles, work by state, token, reads, and settings of QuickBooks worth knowing.

    Exit code 1 when the company is not active.
    """
    from services.cli import wiring
    from services.connections import health as cards
    from services.inbound import cycles

    with wiring.transaction(tenant) as connection:
        company_id = wiring.chosen_company(connection, tenant, company).company_id
        card = cards.of(connection, company_id)
        last = next(iter(cycles.page(connection, company_id, limit=1)), None)
    if json:
        console.result({**console.plain(card), "last_cycle": last})
    else:
        shown = console.plain(card)
        named, findings = shown.pop("company"), shown.pop("findings")
        cycle = last and f"{last.state}, {last.cause}, {console.age(last.started_at)} ago, {last.reads} reads"
        console.facts((name.replace("_", " "), value) for name, value in (named | shown).items())
        console.facts([("last cycle", cycle or "none yet"), ("incomplete", last and last.reason)])
        for one in findings:
            mark = "risk" if one["risk"] else "note"
            console.say(f"\n{mark}: {one['sentence']}\n      {one['place']}")
    if card.company.state != "active":
        raise typer.Exit(console.FAILED)


@app.command(epilog="Example: algasync connections connect --tenant acme")
def connect(
    tenant: OneTenant,
    company: Annotated[str | None, typer.Option(help="Reconnect this company and no other.")] = None,
    return_to: Annotated[
        str, typer.Option(help="Address of the PSA to send the browser back to, one of ALGASYNC_RETURN_TO.")
    ] = "",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Print the address at which an admin's browser connects a company; good once, for ten minutes.

    The browser comes back to the API, which must run and be reachable at that address.
    """
    from services.cli import wiring
    from services.connections import oauth_flow

    intuit = _intuit()
    with wiring.transaction(tenant) as connection:
        expected = wiring.company_id(connection, tenant, company)
        ticket = oauth_flow.begin(
            connection, intuit, tenant, actor=str(actor), return_to=return_to, company_id=expected
        )
    url = intuit.connect_url(ticket.secret)
    if json:
        console.result({"connect_url": url, "expires_at": ticket.expires_at})
        return
    console.say(url)
    console.note(
        f"Open it in the browser of the person who approves the company, before {ticket.expires_at:%X}."
    )


@app.command(
    "make-default", epilog="Example: algasync connections make-default --tenant acme --company 462..."
)
def make_default(tenant: OneTenant, company: OneCompany, actor: Actor = None, json: Json = False) -> None:
    """Send documents that name no company to this one from now on."""
    from services.cli import wiring
    from services.connections import companies

    with wiring.transaction(tenant) as connection:
        chosen = wiring.chosen_company(connection, tenant, company)
        _told(companies.make_default(connection, chosen.company_id, str(actor)), "is the default company")


@app.command(epilog="Example: algasync connections disconnect --tenant acme --company 4620816365291234567")
def disconnect(tenant: OneTenant, company: OneCompany, actor: Actor = None, json: Json = False) -> None:
    """Forget a company's tokens, here and at Intuit. Its work waits; credentials, links and mappings stay.

    Exit code 1 when Intuit did not confirm: disconnect the app in QuickBooks too (Apps > My apps).
    """
    from services.cli import wiring
    from services.connections import companies, oauth_flow
    from services.exceptions.attention import ConnectionAttention

    intuit = _intuit()
    with wiring.fleet_database() as database:
        with database.transaction(tenant) as connection:
            company_id = wiring.chosen_company(connection, tenant, company).company_id
        revoked = oauth_flow.disconnect(
            database, intuit, ConnectionAttention(), tenant, company_id, str(actor)
        )
        with database.transaction(tenant) as connection:
            gone = companies.get(connection, company_id)
    _told(gone, "is disconnected", revoked=revoked)
    if not revoked:
        console.note(
            "Intuit did not confirm that the tokens are revoked: disconnect the app in QuickBooks too."
        )
        raise typer.Exit(console.FAILED)


@app.command("set-cursor", epilog="Example: algasync connections set-cursor 2026-03-01 --tenant acme")
def set_cursor(
    moment: Moment,
    tenant: OneTenant,
    company: Company = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Read QuickBooks' changes from a moment on, whatever was read before; reading again does no harm.

    Set it before the first cycle, else changes are read from the moment the company was connected.
    """
    from services.cli import wiring
    from services.inbound import schedule

    with wiring.transaction(tenant) as connection:
        chosen = wiring.chosen_company(connection, tenant, company)
        schedule.set_cursor(connection, chosen.company_id, moment, str(actor))
    if json:
        console.result({"company": chosen, "cursor": moment})
        return
    console.say(f"{chosen.label}: changes are read from {moment.isoformat()} on.")


@app.command(epilog="Example: algasync connections timeline --tenant acme --company 4620816365291234567")
def timeline(tenant: OneTenant, company: Company = None, json: Json = False) -> None:
    """Show who connected, disconnected and reconnected a company, and when it expired."""
    from services.cli import wiring
    from services.ledger import timeline as record

    with wiring.transaction(tenant) as connection:
        chosen = wiring.chosen_company(connection, tenant, company)
        entries = record.read(connection, tenant, "company", str(chosen.company_id))
    if json:
        console.result({"company": chosen, "timeline": entries})
        return
    _history(entries)


@keys.command(epilog="Example: algasync connections credentials show --tenant acme")
def show(tenant: OneTenant, json: Json = False) -> None:
    """Show what to register with Intuit, and whether credentials are ready; values are masked.

    Exit code 1 when nobody can connect with them.
    """
    from services.cli import wiring

    intuit = _intuit()
    with wiring.transaction(tenant) as connection:
        card = intuit.card(connection, tenant)
    _show(card)
    if not card.can_connect:
        raise typer.Exit(console.FAILED)


@keys.command(
    "set", epilog="Example: algasync connections credentials set ABfakeClientId --tenant acme < secret.txt"
)
def set_(
    client_id: Annotated[str, typer.Argument(help="Client id of the Intuit app.")],
    tenant: OneTenant,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Save the tenant's own Intuit app. The secret is asked for, or read from standard input.

    It is no argument, because others on the machine could read it there.
    """
    from services.cli import wiring
    from services.connections import credentials

    intuit, secret = _intuit(), _secret()
    with wiring.transaction(tenant) as connection:
        credentials.save(
            connection, intuit.vault, tenant, client_id=client_id, client_secret=secret, actor=str(actor)
        )
        card = intuit.card(connection, tenant)
    _show(card)


@keys.command(epilog="Example: algasync connections credentials clear --tenant acme")
def clear(tenant: OneTenant, actor: Actor = None, json: Json = False) -> None:
    """Forget the tenant's own Intuit app; refused while a company is connected with it."""
    from services.cli import wiring
    from services.connections import credentials

    with wiring.transaction(tenant) as connection:
        gone = credentials.remove(connection, tenant, str(actor))
    if json:
        console.result({"cleared": gone})
    else:
        console.say("The credentials are forgotten." if gone else "There were no credentials of this tenant.")
    if not gone:
        raise typer.Exit(console.FAILED)


def _intuit() -> Intuit:
    from services.cli import wiring
    from services.configuration import configuration

    return wiring.intuit(configuration())


def _secret() -> str:
    import getpass
    import sys

    if sys.stdin.isatty():
        return getpass.getpass("Client secret: ")
    return sys.stdin.readline().strip()


def _show(card: Card) -> None:
    if console.mode.json:
        console.result({"credentials": card})
        return
    console.say("Credentials Ready" if card.ready else "Credentials are not ready")
    shown = console.plain(card)
    console.facts((name.replace("_", " "), value) for name, value in shown.items() if name != "ready")


def _told(company: Connected, what: str, **more: Any) -> None:
    if console.mode.json:
        console.result({"company": company, **more})
        return
    console.say(f"{company.label} {what}.")


def _history(entries: Iterable[Entry]) -> None:
    console.table(
        ("WHEN", "WHO", "DID", "INTACT", "DETAILS"),
        (
            (entry.at, entry.actor, entry.action, "yes" if entry.intact else "NO", entry.details)
            for entry in entries
        ),
        obvious={"INTACT": "yes"},
    )
