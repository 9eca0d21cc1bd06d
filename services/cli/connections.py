"""`algasync connections`: which QuickBooks companies are connected, and how they are."""

from __future__ import annotations

import typer

from services.cli import console
from services.cli.options import Json, Tenant

app = typer.Typer(no_args_is_help=True, help="Connected QuickBooks companies.")


@app.callback()
def group() -> None:
    """Connected QuickBooks companies."""


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
