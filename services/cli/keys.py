"""`algasync keys`: who may call the API, for which tenant, to do what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from services.cli import console
from services.cli.options import Actor, Json, OneTenant

if TYPE_CHECKING:
    from services.api.keys import Created

app = typer.Typer(no_args_is_help=True, help="API keys: create, list, rotate, revoke.")

KeyId = Annotated[UUID, typer.Argument(help="The key's id, as `keys list` shows it.")]
PerMinute = Annotated[
    int | None, typer.Option(min=1, max=1_000_000, help="How often it may call a minute. [1200]")
]
SCOPES = "accounting:read, accounting:manage, events:write, operator"


@app.command(epilog="Example: algasync keys create --tenant acme --name psa --scope accounting:manage")
def create(
    tenant: OneTenant,
    name: Annotated[str, typer.Option(help="By which people know it.")],
    scope: Annotated[list[str], typer.Option(help=f"What it allows; several times for more: {SCOPES}.")],
    per_minute: PerMinute = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Make a key. It is shown this once and kept as a digest only."""
    from services.api import keys
    from services.cli import wiring

    with wiring.transaction(tenant) as connection:
        created = keys.create(
            connection, tenant, name=name, scopes=scope, actor=str(actor), per_minute=per_minute
        )
    _show(created)


@app.command("list", epilog="Example: algasync keys list --tenant acme")
def list_(tenant: OneTenant, json: Json = False) -> None:
    """List all keys a tenant ever had; never their secrets."""
    from services.api import keys
    from services.cli import wiring

    with wiring.transaction(tenant) as connection:
        found = keys.listed(connection, tenant)
    if json:
        console.result({"keys": found})
        return
    console.table(
        ("ID", "NAME", "BEGINS WITH", "SCOPES", "CREATED", "LAST USED", "STATE"),
        (
            (
                str(one.key_id),
                one.name,
                one.prefix,
                " ".join(one.scopes),
                one.created_at,
                one.last_used_at,
                "revoked" if one.revoked_at else f"until {one.expires_at}" if one.expires_at else "valid",
            )
            for one in found
        ),
    )


@app.command(epilog="Example: algasync keys rotate 0190b3c4-... --tenant acme --grace-hours 48")
def rotate(
    key_id: KeyId,
    tenant: OneTenant,
    grace_hours: Annotated[float, typer.Option(min=0, max=720, help="How long the old key works on.")] = 24,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Make a successor with the same name and scopes; the old key works on for a while."""
    from datetime import timedelta

    from services.api import keys
    from services.cli import wiring

    with wiring.transaction(tenant) as connection:
        created = keys.rotate(connection, key_id, actor=str(actor), grace=timedelta(hours=grace_hours))
    _show(created)


@app.command(epilog="Example: algasync keys revoke 0190b3c4-... --tenant acme")
def revoke(key_id: KeyId, tenant: OneTenant, actor: Actor = None, json: Json = False) -> None:
    """End a key at once."""
    from services.api import keys
    from services.cli import wiring

    with wiring.transaction(tenant) as connection:
        revoked = keys.revoke(connection, key_id, actor=str(actor))
    if json:
        console.result({"key": revoked})
        return
    console.say(f"Key {revoked.name} ({revoked.prefix}...) is revoked.")


@app.command(
    epilog="Example: algasync keys trust --tenant acme --name psa --issuer https://psa.example --public-key psa.pem"
)
def trust(
    tenant: OneTenant,
    name: Annotated[str, typer.Option(help="By which people know it.")],
    issuer: Annotated[str, typer.Option(help="What the PSA writes into `iss`.")],
    public_key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="File with the key in PEM.")],
    algorithm: Annotated[
        str, typer.Option(help="EdDSA, ES256 or RS256; no token can choose another.")
    ] = "EdDSA",
    per_minute: PerMinute = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Take the tokens that a tenant's PSA signs with its private key. Nothing secret is kept here."""
    from services.api import tokens
    from services.cli import wiring

    with wiring.transaction(tenant) as connection:
        key = tokens.trust(
            connection,
            tenant,
            name=name,
            issuer=issuer,
            algorithm=algorithm,
            public_key=public_key.read_text("utf-8"),
            actor=str(actor),
            per_minute=per_minute,
        )
    if json:
        console.result({"key": key})
        return
    console.say(str(key.signing_key_id))
    console.note("Let the PSA write it as `kid` into the header of every token; aud is algasync.")


@app.command(epilog="Example: algasync keys trusted --tenant acme")
def trusted(tenant: OneTenant, json: Json = False) -> None:
    """List the keys by which a tenant's PSA signs."""
    from services.api import tokens
    from services.cli import wiring

    with wiring.transaction(tenant) as connection:
        found = tokens.listed(connection, tenant)
    if json:
        console.result({"keys": found})
        return
    console.table(
        ("ID", "NAME", "ISSUER", "ALGORITHM", "CREATED", "LAST USED", "STATE"),
        (
            (
                str(one.signing_key_id),
                one.name,
                one.issuer,
                one.algorithm,
                one.created_at,
                one.last_used_at,
                "revoked" if one.revoked_at else f"until {one.expires_at}" if one.expires_at else "valid",
            )
            for one in found
        ),
    )


@app.command(epilog="Example: algasync keys distrust 0190b3c4-... --tenant acme --grace-hours 24")
def distrust(
    key_id: KeyId,
    tenant: OneTenant,
    grace_hours: Annotated[
        float, typer.Option(min=0, max=720, help="How long it works on, while a successor takes over.")
    ] = 0,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Take no more tokens signed with this key, at once or after a while. To rotate, `trust` the new one first."""
    from datetime import timedelta

    from services.api import tokens
    from services.cli import wiring

    with wiring.transaction(tenant) as connection:
        key = tokens.distrust(connection, key_id, actor=str(actor), grace=timedelta(hours=grace_hours))
    if json:
        console.result({"key": key})
        return
    console.say(f"Key {key.name} " + (f"ends {key.expires_at}." if key.revoked_at is None else "is revoked."))


def _show(created: Created) -> None:
    if console.mode.json:
        console.result({"key": created.key, "secret": created.secret})
        return
    console.say(created.secret)
    console.note(f"Key {created.key.name} of tenant {created.key.tenant_id}: {' '.join(created.key.scopes)}")
    console.note("This is the only time it is shown; send it as: Authorization: Bearer <key>")
