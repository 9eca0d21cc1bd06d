"""`algasync exceptions`: what a person does about them, one by one or all of a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from services.cli import console
from services.cli.options import Actor, Because, DryRun, Json, Reason, Tenant, said

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

MOST = 10_000  # exceptions that one command acts on

Ids = Annotated[list[str], typer.Argument(help="The exceptions: their ids, or the ends of them.")]
SomeIds = Annotated[
    list[str] | None,
    typer.Argument(help="The exceptions: their ids, or the ends of them; or choose by options."),
]
OfType = Annotated[str | None, typer.Option("--type", help="All open ones of this type, with --tenant.")]
OfCode = Annotated[str | None, typer.Option("--code", help="All open ones with this code, with --tenant.")]
OfClient = Annotated[
    str | None, typer.Option("--client", help="All open ones of this client, with --tenant.")
]
Id = Annotated[str, typer.Argument(help="The exception: its id, or the end of it.")]


def retry(
    ids: SomeIds = None,
    tenant: Tenant = None,
    cause: Annotated[str | None, typer.Option(help="All that this root cause holds up.")] = None,
    type_: OfType = None,
    code: OfCode = None,
    client: OfClient = None,
    because: Because = None,
    dry_run: DryRun = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Try again what exceptions are about: a new attempt of the same operation, or a delivery that is sent again."""
    from services.cli import identity, wiring
    from services.exceptions import causes as root_causes
    from services.psa import retries

    why = because or "retried from the command line"
    if not cause and (ids or type_ or code or client):
        ids = _chosen(ids, tenant, type_, code, client)
    elif ids or not (cause and tenant):
        raise console.Told(
            "name exceptions, or --cause together with --tenant",
            code="nothing_chosen",
            field="--cause",
            exit_code=console.USAGE,
        )
    if cause and tenant:
        with wiring.transaction(tenant) as connection:
            found = root_causes.preview(connection, tenant, cause)
        if dry_run:
            _told(True, [{"exception_id": one.exception_id, "what": one.title} for one in found], [])
            return
        ids = [str(one.exception_id) for one in found]
    if dry_run:
        with wiring.transaction(tenant) as connection:
            meant = [identity.find(connection, "exception", one) for one in ids or ()]
            judged = [{"exception_id": one, "message": retries.obstacle(connection, one)} for one in meant]
        able = [one for one in judged if one["message"] is None]
        _told(True, able, [one for one in judged if one["message"] is not None])
        return
    _each(ids or [], tenant, lambda connection, one: retries.retry(connection, one, str(actor), why))


def ignore(
    ids: SomeIds = None,
    tenant: Tenant = None,
    type_: OfType = None,
    code: OfCode = None,
    client: OfClient = None,
    reason: Reason = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Accept exceptions as they are; the same trouble again is counted and stays ignored. `reopen` takes it back."""
    from services.exceptions import lifecycle

    why = said(reason, "--reason", "entered by hand")
    ids = _chosen(ids, tenant, type_, code, client)
    _each(ids, tenant, lambda connection, one: lifecycle.ignore(connection, one, why, str(actor)))


def reopen(
    ids: Ids, tenant: Tenant = None, reason: Reason = None, actor: Actor = None, json: Json = False
) -> None:
    """Put ignored or resolved exceptions back on the list."""
    from services.exceptions import lifecycle

    why = said(reason, "--reason", "it matters after all")
    _each(ids, tenant, lambda connection, one: lifecycle.reopen(connection, one, why, str(actor)))


def start(ids: Ids, tenant: Tenant = None, actor: Actor = None, json: Json = False) -> None:
    """Say that somebody works on them."""
    from services.exceptions import lifecycle

    _each(ids, tenant, lambda connection, one: lifecycle.start(connection, one, str(actor)))


def assign(
    who: Annotated[str, typer.Argument(help="Whom; 'nobody' takes it away.")],
    ids: SomeIds = None,
    tenant: Tenant = None,
    type_: OfType = None,
    code: OfCode = None,
    client: OfClient = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Give exceptions to somebody."""
    from services.exceptions import lifecycle

    assignee = None if who == "nobody" else who
    ids = _chosen(ids, tenant, type_, code, client)
    _each(ids, tenant, lambda connection, one: lifecycle.assign(connection, one, assignee, str(actor)))


def comment(
    exception: Id,
    words: Annotated[str, typer.Argument(help="What to say.")],
    tenant: Tenant = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Add a comment to an exception."""
    from services.exceptions import lifecycle

    _each([exception], tenant, lambda connection, one: lifecycle.comment(connection, one, words, str(actor)))


def _chosen(
    ids: list[str] | None, tenant: str | None, type_: str | None, code: str | None, client: str | None
) -> list[str]:
    """What is named, else all that need somebody and match. Raises `Told` when nothing or both are said."""
    by_filter = any((type_, code, client))
    if bool(ids) == by_filter or (by_filter and tenant is None):
        raise console.Told(
            "name exceptions, or choose them by --type, --code or --client together with --tenant",
            code="nothing_chosen",
            field="--tenant" if by_filter and not ids else "ids",
            exit_code=console.USAGE,
        )
    if ids:
        return ids
    from services.cli import wiring
    from services.exceptions import exceptions

    filters = exceptions.Filters(tenant=tenant, type=type_, code=code, client_id=client)
    with wiring.transaction(tenant) as connection:
        found = exceptions.page(connection, filters, sort="oldest", limit=MOST).exceptions
    return [str(one.exception_id) for one in found]


def _each(ids: list[str], tenant: str | None, act: Callable[[Connection, UUID], object]) -> None:
    """Act on each in a transaction of its own; exit code 1 when one was refused."""
    from services.cli import identity, wiring
    from services.database.engine import ALL_TENANTS
    from services.exceptions import bulk

    with wiring.fleet_database(pool_size=1) as database:
        with database.transaction(tenant or ALL_TENANTS) as connection:
            meant = [identity.find(connection, "exception", one) for one in ids]
        results = list(bulk.each(lambda: database.transaction(tenant or ALL_TENANTS), meant, act))
    _told(
        False,
        [{"exception_id": one.id} for one in results if one.done],
        [{"exception_id": one.id, "message": one.message} for one in results if not one.done],
    )


def _told(dry_run: bool, done: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
    if console.mode.json:
        console.result({"dry_run": dry_run, "done": done, "refused": left})
    else:
        for one in done:
            console.say(
                f"{'would do' if dry_run else 'done'}  {one['exception_id']}  {one.get('what', '')}".rstrip()
            )
        for one in left:
            console.note(one["message"])
        console.say(f"{len(done)} {'would be ' if dry_run else ''}done, {len(left)} refused.")
    if left:
        raise typer.Exit(console.FAILED)
