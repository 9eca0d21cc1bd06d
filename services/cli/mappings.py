"""`algasync mappings`: what of ours is what in QuickBooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import console
from services.cli.options import Actor, Company, Json, Limit, OneTenant

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from services.mapping.mappings import Key

app = typer.Typer(no_args_is_help=True, help="Mappings: what of ours is what in QuickBooks.")

KINDS = "item, item_category, discount_item, tax_code, term, payment_method, customer, billing_profile"
Kind = Annotated[str, typer.Argument(help=f"{KINDS}.")]
Ours = Annotated[str, typer.Argument(help="Our id, e.g. of the service; 'default' for the discount item.")]
Variant = Annotated[str, typer.Option(help="Currency of a customer, or treatment of a tax code.")]


@app.command("set", epilog="Example: algasync mappings set item svc-backup 17 --tenant acme --name 'Backup'")
def set_(
    kind: Kind,
    ours: Ours,
    quickbooks_id: Annotated[str, typer.Argument(help="Its id in QuickBooks.")],
    tenant: OneTenant,
    company: Company = None,
    variant: Variant = "",
    name: Annotated[str, typer.Option(help="Its name in QuickBooks, for people.")] = "",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Map something of ours; documents that failed for the lack of it start their next attempt at once."""
    from services.cli import wiring
    from services.exceptions import causes
    from services.mapping import mappings

    released: list[UUID] = []

    def release(connection: Connection, of: str, cause: str) -> None:
        released.extend(causes.release(connection, of, cause, str(actor), f"{kind} {ours} was mapped"))

    with wiring.transaction(tenant) as connection:
        mapping = mappings.put(
            connection,
            tenant,
            wiring.chosen_company(connection, tenant, company).company_id,
            _at(kind, ours, variant),
            external_id=quickbooks_id,
            external_name=name,
            actor=str(actor),
            on_mapping_set=release,
        )
    if json:
        console.result({"mapping": mapping, "released": released})
        return
    console.say(f"{kind} {ours} is QuickBooks id {quickbooks_id}; {len(released)} operations start again.")


@app.command("list", epilog="Example: algasync mappings list --tenant acme --kind item")
def list_(
    tenant: OneTenant,
    company: Company = None,
    kind: Annotated[str | None, typer.Option(help=f"Only {KINDS}.")] = None,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List the mappings of a company."""
    from services.cli import wiring
    from services.mapping import mappings

    if kind is not None and kind not in list(mappings.Kind):
        raise console.Told(
            f"{kind!r} is none of {KINDS}", code="invalid_value", field="--kind", exit_code=console.USAGE
        )
    with wiring.transaction(tenant) as connection:
        found = mappings.page(
            connection,
            tenant,
            wiring.chosen_company(connection, tenant, company).company_id,
            kind=mappings.Kind(kind) if kind else None,
            limit=limit,
        )
    if json:
        console.result({"mappings": found})
        return
    console.table(
        ("KIND", "OURS", "VARIANT", "QUICKBOOKS", "NAME", "BY", "AGE"),
        (
            (
                one.kind,
                one.key or "default",
                one.variant,
                one.external_id,
                one.external_name,
                one.updated_by,
                console.age(one.updated_at),
            )
            for one in found
        ),
    )


@app.command(epilog="Example: algasync mappings delete item svc-backup --tenant acme")
def delete(
    kind: Kind,
    ours: Ours,
    tenant: OneTenant,
    company: Company = None,
    variant: Variant = "",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Forget a mapping; documents that need it fail again, by name."""
    from services.cli import wiring
    from services.mapping import mappings

    with wiring.transaction(tenant) as connection:
        gone = mappings.delete(
            connection,
            tenant,
            wiring.chosen_company(connection, tenant, company).company_id,
            _at(kind, ours, variant),
            actor=str(actor),
        )
    if json:
        console.result({"deleted": gone})
    else:
        console.say(f"{kind} {ours} is not mapped any more." if gone else f"{kind} {ours} was not mapped.")
    if not gone:
        raise typer.Exit(console.FAILED)


def _at(kind: str, ours: str, variant: str) -> Key:
    return (kind, "" if kind == "discount_item" and ours == "default" else ours, variant)
