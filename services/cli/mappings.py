"""`algasync mappings`: what of ours is what in QuickBooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import console
from services.cli.options import Actor, Company, DryRun, Json, Limit, OneTenant, Yes

if TYPE_CHECKING:
    from services.mapping.mappings import Key
    from services.mapping.mappings import Kind as MappingKind
    from services.onboarding.assigning import Outcome

app = typer.Typer(no_args_is_help=True, help="Mappings: what of ours is what in QuickBooks.")

KINDS = "item, item_category, discount_item, tax_code, term, payment_method, class, customer, billing_profile"
Kind = Annotated[str, typer.Argument(help=f"{KINDS}.")]
Ours = Annotated[str, typer.Argument(help="Our id, e.g. of the service; 'default' for the discount item.")]
Variant = Annotated[str, typer.Option(help="Currency of a customer, or treatment of a tax code.")]
Refresh = Annotated[bool, typer.Option("--refresh", help="Ask QuickBooks even if its list is recent.")]


@app.command("set", epilog="Example: algasync mappings set item svc-backup 17 --tenant acme")
def set_(
    kind: Kind,
    ours: Ours,
    quickbooks_id: Annotated[str, typer.Argument(help="Its id in QuickBooks; 'choices' lists them.")],
    tenant: OneTenant,
    company: Company = None,
    variant: Variant = "",
    name: Annotated[str, typer.Option(help="Its name, where QuickBooks cannot be asked.")] = "",
    class_id: Annotated[str, typer.Option(help="Of an item: the class of its lines.")] = "",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Map something of ours; documents that failed for the lack of it start their next attempt at once."""
    from services.cli import lists
    from services.onboarding import assigning
    from services.onboarding.assigning import Wanted

    at = _at(kind, ours, variant)
    wanted = Wanted(*at, quickbooks_id, name, {"class_id": class_id} if class_id else {})
    with lists.of_company(tenant, company) as company_lists:
        unchecked = company_lists.have([wanted])
        with company_lists.transaction() as connection:
            outcome = assigning.put(
                connection, tenant, company_lists.company_id, wanted, actor=str(actor), unchecked=unchecked
            )
    (mapping,) = outcome.mappings
    if json:
        found = {"mapping": mapping, "released": outcome.released, "unchecked": unchecked}
        console.result(found)
        return
    _warn(unchecked)
    label = f"{mapping.external_name} ({quickbooks_id})" if mapping.external_name else quickbooks_id
    console.say(f"{kind} {ours} is {label} in QuickBooks; {len(outcome.released)} operations start again.")


@app.command("list", epilog="Example: algasync mappings list --tenant acme --kind item")
def list_(
    tenant: OneTenant,
    company: Company = None,
    kind: Annotated[str | None, typer.Option(help=f"Only {KINDS}.")] = None,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List the mappings of a company, and what is wrong with them as far as its lists were read."""
    from services.cli import wiring
    from services.mapping import mappings
    from services.onboarding import choices

    wanted = _kind(kind, "--kind") if kind else None
    with wiring.transaction(tenant) as connection:
        company_id = wiring.chosen_company(connection, tenant, company).company_id
        found = mappings.page(connection, tenant, company_id, kind=wanted, limit=limit)
        known = choices.of(connection, company_id, {(one.kind, one.external_id) for one in found})
    wrong = {at: choice.hindrance for at, choice in known.items() if choice.hindrance}
    if json:
        console.result({"mappings": found, "hindrances": {"/".join(at): why for at, why in wrong.items()}})
        return
    console.table(
        ("KIND", "OURS", "VARIANT", "QUICKBOOKS", "NAME", "BY", "AGE", "NOTE"),
        (
            (
                one.kind,
                one.key or "default",
                one.variant,
                one.external_id,
                one.external_name,
                one.updated_by,
                console.age(one.updated_at),
                wrong.get((one.kind, one.external_id), ""),
            )
            for one in found
        ),
    )


@app.command(epilog="Example: algasync mappings choices tax_code --tenant acme")
def choices(
    kind: Kind, tenant: OneTenant, company: Company = None, refresh: Refresh = False, json: Json = False
) -> None:
    """Show what the company has to choose from, read live at most every twelve hours."""
    from services.cli import lists
    from services.onboarding import choices as rules
    from services.onboarding.assigning import Wanted

    wanted = _kind(kind, "kind")
    with lists.of_company(tenant, company) as company_lists:
        stale = company_lists.have([Wanted(wanted, "")], refresh=refresh)
        with company_lists.transaction() as connection:
            found = rules.listed(connection, company_lists.company_id, wanted)
    if json:
        console.result({"choices": found, "stale": stale})
        return
    _warn(stale)
    console.table(("ID", "NAME"), ((one.id, one.label) for one in found))


@app.command(epilog="Example: algasync mappings unmapped item --tenant acme")
def unmapped(
    kind: Kind, tenant: OneTenant, company: Company = None, refresh: Refresh = False, json: Json = False
) -> None:
    """Show what of ours is not mapped yet, with what it may be by its name."""
    from services.cli import lists
    from services.onboarding import unmapped as rules
    from services.onboarding.assigning import Wanted

    wanted = _kind(kind, "kind")
    with lists.of_company(tenant, company) as company_lists:
        stale = company_lists.have([Wanted(wanted, "")], refresh=refresh)
        found = rules.of(company_lists.database, tenant, company_lists.company_id, wanted)
    if json:
        console.result({"unmapped": found, "stale": stale})
        return
    _warn(stale)
    rows = []
    for one in found:
        best = next(iter(one.suggestions), None)
        may_be = (f"{best.label} ({best.id})", best.score, best.evidence) if best else ("", "", "")
        rows.append((one.key or "default", one.name, *may_be))
    console.table(("OURS", "NAME", "MAY BE", "SCORE", "WHY"), rows)


@app.command("export", epilog="Example: algasync mappings export mappings.csv --tenant acme")
def export(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The CSV file to write.")],
    tenant: OneTenant,
    company: Company = None,
    json: Json = False,
) -> None:
    """Write all mappings of a company to a CSV sheet."""
    from services.cli import wiring
    from services.mapping import mappings
    from services.onboarding import sheets

    with wiring.transaction(tenant) as connection:
        company_id = wiring.chosen_company(connection, tenant, company).company_id
        found = list(mappings.every(connection, tenant, company_id))
    file.write_text(sheets.write(found), encoding="utf-8", newline="")
    if json:
        console.result({"file": str(file), "mappings": len(found)})
    else:
        console.say(f"{len(found)} mappings are in {file}.")


@app.command("import", epilog="Example: algasync mappings import mappings.csv --tenant acme --dry-run")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The CSV file.")],
    tenant: OneTenant,
    company: Company = None,
    dry_run: DryRun = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Set what a CSV sheet says: all rows, or none when one is wrong."""
    from services.cli import lists
    from services.onboarding import assigning, sheets

    try:
        wanted = sheets.read(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise console.Told(
            f"{file} is not UTF-8", code="unreadable", field="file", exit_code=console.USAGE
        ) from None
    with lists.of_company(tenant, company) as company_lists:
        unchecked = company_lists.have(wanted)
        with company_lists.transaction() as connection:
            outcome = assigning.put_all(
                connection,
                tenant,
                company_lists.company_id,
                wanted,
                actor=str(actor),
                unchecked=unchecked,
                dry_run=dry_run,
            )
    _told(outcome, json=json, dry_run=dry_run)
    if outcome.troubles:
        raise typer.Exit(console.USAGE)


@app.command(epilog="Example: algasync mappings history item svc-backup --tenant acme")
def history(kind: Kind, ours: Ours, tenant: OneTenant, company: Company = None, json: Json = False) -> None:
    """Show who mapped it to what, oldest first."""
    from services.cli import wiring
    from services.ledger import timeline
    from services.mapping import mappings

    at = _at(kind, ours, "")
    with wiring.transaction(tenant) as connection:
        company_id = wiring.chosen_company(connection, tenant, company).company_id
        subject = mappings.cause(at[0], company_id, at[1])
        entries = timeline.read(connection, tenant, "mapping", subject)
    if json:
        console.result({"history": entries})
        return
    console.table(
        ("AT", "BY", "ACTION", "VARIANT", "BEFORE", "AFTER"),
        (
            (
                entry.at,
                entry.actor,
                entry.action,
                entry.details["variant"],
                (entry.details["before"] or {}).get("external_id", ""),
                (entry.details["after"] or {}).get("external_id", ""),
            )
            for entry in entries
        ),
    )


@app.command(epilog="Example: algasync mappings delete item svc-backup --tenant acme")
def delete(
    kind: Kind,
    ours: Ours,
    tenant: OneTenant,
    company: Company = None,
    variant: Variant = "",
    yes: Yes = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Forget a mapping after saying what that affects; documents that need it fail, by name."""
    from services.cli import wiring
    from services.mapping import mappings, usage

    at = _at(kind, ours, variant)
    with wiring.transaction(tenant) as connection:
        company_id = wiring.chosen_company(connection, tenant, company).company_id
        affected = usage.of(connection, tenant, company_id, at)
    if (affected.unsent or affected.lately) and not yes and not json:
        typer.confirm(f"{affected.sentence} Forget it?", abort=True)
    with wiring.transaction(tenant) as connection:
        gone = mappings.delete(connection, tenant, company_id, at, actor=str(actor))
    if json:
        console.result({"deleted": gone, "usage": affected})
    else:
        console.say(f"{kind} {ours} is not mapped any more." if gone else f"{kind} {ours} was not mapped.")
    if not gone:
        raise typer.Exit(console.FAILED)


def _told(outcome: Outcome, *, json: bool, dry_run: bool) -> None:
    counts = {does: sum(one.does == does for one in outcome.changes) for does in ("new", "changed", "same")}
    applied = not dry_run and not outcome.troubles
    if json:
        console.result({
            "applied": applied,
            **counts,
            "troubles": outcome.troubles,
            "released": outcome.released,
            "unchecked": outcome.unchecked,
        })  # fmt: skip
        return
    _warn(outcome.unchecked)
    if outcome.troubles:
        console.table(
            ("ROW", "FIELD", "WHAT"), ((one.row, one.field, one.sentence) for one in outcome.troubles)
        )
        console.say("Nothing was changed.")
        return
    said = ", ".join(f"{number} {does}" for does, number in counts.items())
    again = f"; {len(outcome.released)} operations start again" if applied else "; nothing was changed"
    console.say(f"{said}{again}.")


def _warn(unchecked: str) -> None:
    if unchecked:
        console.note(f"Not checked against QuickBooks: {unchecked}")


def _kind(written: str, option: str) -> MappingKind:
    from services.mapping import mappings

    if written not in list(mappings.Kind):
        raise console.Told(
            f"{written!r} is none of {KINDS}", code="invalid_value", field=option, exit_code=console.USAGE
        )
    return mappings.Kind(written)


def _at(kind: str, ours: str, variant: str) -> Key:
    return (str(_kind(kind, "kind")), "" if kind == "discount_item" and ours == "default" else ours, variant)
