"""`algasync settings`: how a tenant wants its sync."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import console
from services.cli.console import FAILED, USAGE, Told
from services.cli.options import Actor, Company, Json, OneTenant

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.cli.lists import Lists
    from services.mapping.settings import Scope

app = typer.Typer(no_args_is_help=True, help="Settings: how a tenant wants its sync.")

Name = Annotated[str, typer.Argument(help="A setting; 'list' shows them all.")]
Client = Annotated[str | None, typer.Option(help="Of this client.")]


@app.command("list", epilog="Example: algasync settings list --tenant acme --company 9341450000000001")
def list_(tenant: OneTenant, company: Company = None, client: Client = None, json: Json = False) -> None:
    """Show all settings in force, where each comes from, and what it means."""
    from services.cli import wiring
    from services.mapping import settings
    from services.mapping.settings import Settings

    with wiring.transaction(tenant) as connection:
        company_id = wiring.company_id(connection, tenant, company)
        found = settings.resolve(connection, tenant, company_id=company_id, client_id=client)
        scopes = [settings.TENANT]
        scopes += [settings.of_company(company_id)] if company_id is not None else []
        scopes += [settings.of_client(client)] if client is not None else []
        rows = {row.name: row for scope in scopes for row in settings.listed(connection, tenant, scope)}
    values = found.model_dump(mode="json")
    if json:
        console.result({"settings": values, "set": list(rows.values())})
        return
    console.table(
        ("SETTING", "VALUE", "FROM", "BY", "WHAT"),
        (
            (
                name,
                _said(value),
                rows[name].scope if name in rows else "default",
                rows[name].updated_by if name in rows else "",
                Settings.model_fields[name].description,
            )
            for name, value in values.items()
        ),
    )


@app.command("set", epilog="Example: algasync settings set deposit_account 'Undeposited Funds' --tenant acme")
def set_(
    name: Name,
    value: Annotated[
        str,
        typer.Argument(help="true, 15, 2026-12-01, JSON; of an account, class or department its name or id."),
    ],
    tenant: OneTenant,
    company: Company = None,
    client: Client = None,
    method: Annotated[
        str, typer.Option(help="Of deposit_accounts: the payment method, or method:provider.")
    ] = "",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Set one setting; no other one is touched. What points into QuickBooks must be there and usable."""
    from services.cli import lists, wiring
    from services.onboarding import company_settings
    from services.onboarding.assigning import Wanted

    with wiring.fleet_database() as database:
        with database.transaction(tenant) as connection:
            scope = _scope(connection, tenant, company, client, name)
            company_id = company_settings.company_of(connection, tenant, scope)
        given: Any = _read(value)
        unchecked = ""
        if name in company_settings.POINTING and company_id is not None:
            at_hand = lists.Lists(database, tenant, company_id)
            if not isinstance(given, (dict, list)) and given is not None:
                unchecked = at_hand.have([Wanted(name, "", external_id=value if value.isdecimal() else "")])
                given = _reference(at_hand, name, value, unchecked)
            else:
                unchecked = at_hand.have(company_settings.wanted(name, given, method))
        with database.transaction(tenant) as connection:
            outcome = company_settings.put(
                connection, tenant, scope, name, given, actor=str(actor), key=method, unchecked=unchecked
            )
    if json:
        released = {"released": outcome.released, "unchecked": unchecked}
        console.result({"scope": str(scope), "name": name, "value": outcome.value, **released})
        return
    if unchecked:
        console.note(f"Not checked against QuickBooks: {unchecked}")
    again = f"; {len(outcome.released)} operations start again" if outcome.released else ""
    console.say(f"{name} is {_said(outcome.value)} for {scope}{again}.")


@app.command(epilog="Example: algasync settings reset poll_interval --tenant acme")
def reset(
    name: Name,
    tenant: OneTenant,
    company: Company = None,
    client: Client = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Let one setting fall back to the wider place, or to its default."""
    from services.cli import wiring
    from services.mapping import settings

    with wiring.transaction(tenant) as connection:
        scope = _scope(connection, tenant, company, client, name)
        gone = settings.reset(connection, tenant, scope, name, actor=str(actor))
    if json:
        console.result({"scope": str(scope), "name": name, "reset": gone})
    else:
        console.say(f"{name} {'is no longer' if gone else 'was not'} set for {scope}.")
    if not gone:
        raise typer.Exit(FAILED)


@app.command(epilog="Example: algasync settings history cutover_date --tenant acme")
def history(
    name: Name, tenant: OneTenant, company: Company = None, client: Client = None, json: Json = False
) -> None:
    """Show who set it to what, oldest first."""
    from services.cli import wiring
    from services.mapping import settings

    with wiring.transaction(tenant) as connection:
        scope = _scope(connection, tenant, company, client, name)
        entries = settings.history(connection, tenant, scope, name)
    if json:
        console.result({"scope": str(scope), "name": name, "history": entries})
        return
    console.table(
        ("AT", "BY", "BEFORE", "AFTER"),
        (
            (entry.at, entry.actor, _said(entry.details["before"]), _said(entry.details["after"]))
            for entry in entries
        ),
    )


@app.command(epilog="Example: algasync settings choices deposit_account --tenant acme")
def choices(
    name: Annotated[
        str, typer.Argument(help="Which points into QuickBooks, e.g. deposit_account or default_class.")
    ],
    tenant: OneTenant,
    company: Company = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask QuickBooks even if its list is recent.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what the company has to choose from for a setting."""
    from services.cli import lists
    from services.onboarding import choices as rules
    from services.onboarding import company_settings
    from services.onboarding.assigning import Wanted

    if name not in company_settings.POINTING:
        said = f"{name!r} is none of {', '.join(sorted(company_settings.POINTING))}"
        raise Told(said, code="invalid_value", field="name", exit_code=USAGE)
    with lists.of_company(tenant, company) as company_lists:
        stale = company_lists.have([Wanted(name, "")], refresh=refresh)
        with company_lists.transaction() as connection:
            found = rules.listed(connection, company_lists.company_id, name)
    if json:
        console.result({"choices": found, "stale": stale})
        return
    if stale:
        console.note(f"Not read just now: {stale}")
    console.table(("ID", "NAME"), ((one.id, one.label) for one in found))


def _scope(connection: Connection, tenant: str, company: str | None, client: str | None, name: str) -> Scope:
    """Where it is set: as told, else the only place there is for the setting, else the tenant."""
    from services.cli import wiring
    from services.mapping import settings
    from services.mapping.settings import Settings

    if company is not None and client is not None:
        said = "a setting belongs to a company or to a client; name one of the two"
        raise Told(said, code="invalid_value", field="--client", exit_code=USAGE)
    if client is not None:
        return settings.of_client(client)
    field = Settings.model_fields.get(name)
    of_companies = field is not None and "tenant" not in settings.levels(field)
    if company is not None or (of_companies and field is not None and "company" in settings.levels(field)):
        return settings.of_company(wiring.chosen_company(connection, tenant, company).company_id)
    return settings.TENANT


def _reference(lists: Lists, name: str, written: str, unchecked: str) -> dict[str, str]:
    """What a person calls an account, class or department: its id, or its exact name."""
    from services.onboarding import choices as rules

    with lists.transaction() as connection:
        found = rules.listed(connection, lists.company_id, name)
    named = [
        one for one in found if written.strip().casefold() in {one.name.casefold(), one.label.casefold()}
    ]
    if len(named) == 1:
        return {"id": named[0].id}
    if written.isdecimal():
        return {"id": written}
    said = f"{len(named) or 'no'} {rules.LISTS[name]} in QuickBooks is named {written!r}"
    also = f" ({unchecked})" if unchecked else f"; see: algasync settings choices {name}"
    raise Told(said + also, code="unknown_name", field=name, exit_code=USAGE)


def _read(written: str) -> Any:
    """JSON where it is some, else the text itself."""
    try:
        return json_.loads(written)
    except ValueError:
        return written


def _said(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, dict) and "id" in value:
        return f"{value['name']} ({value['id']})" if value.get("name") else str(value["id"])
    if value is None or isinstance(value, str):
        return value or ""
    return json_.dumps(value, ensure_ascii=False)
