"""`algasync exceptions`: what needs a person, why, and what to do about it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import UUID

import typer

from services.cli import console
from services.cli.options import (
    Actor,
    Because,
    Before,
    Company,
    DryRun,
    Json,
    Limit,
    Reason,
    Since,
    Tenant,
    said,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from services.exceptions.exceptions import Place, Sort, SyncException

MOST = 10_000  # exceptions that one command acts on

app = typer.Typer(no_args_is_help=True, help="The exception list: what needs a person.")

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
State = Annotated[
    list[str] | None,
    typer.Option(
        help="open, in_progress, ignored, resolved or all; several times for more. [open, in_progress]"
    ),
]


@app.command("list", epilog="Example: algasync exceptions list --tenant acme --direction outbound --since 7d")
def list_(
    tenant: Tenant = None,
    state: State = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only this type, e.g. accounting_sync_export_error.")
    ] = None,
    cause: Annotated[str | None, typer.Option(help="Only this root cause.")] = None,
    company: Company = None,
    client: Annotated[str | None, typer.Option(help="Only this client's.")] = None,
    direction: Annotated[
        str | None, typer.Option(help="Only outbound, inbound, connection or fleet.")
    ] = None,
    code: Annotated[str | None, typer.Option(help="Only this code, e.g. missing_item_mapping.")] = None,
    assignee: Annotated[str | None, typer.Option(help="Only what is given to this person.")] = None,
    search: Annotated[
        str | None, typer.Option(help="Only what says this: words, numbers, clients' names.")
    ] = None,
    since: Since = None,
    before: Before = None,
    sort: Annotated[str, typer.Option(help="newest, oldest, seen or amount first.")] = "newest",
    limit: Limit = 50,
    after: Annotated[str | None, typer.Option(metavar="NEXT", help="Go on after an earlier page.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="All of them as CSV on standard output.")] = False,
    json: Json = False,
) -> None:
    """List exceptions, newest first, with counts by state."""
    from services.cli import wiring
    from services.exceptions import exceptions, export

    if csv and json:
        raise console.Told(
            "CSV or JSON, not both; leave one out",
            code="invalid_value",
            field="--csv",
            exit_code=console.USAGE,
        )
    with wiring.transaction(tenant) as connection:
        filters = exceptions.Filters(
            tenant=tenant,
            states=_states(state),
            type=type_,
            cause=cause,
            company_id=wiring.company_id(connection, tenant, company),
            client_id=client,
            direction=direction,
            code=code,
            assignee=assignee,
            search=search,
            since=since,
            before=before,
        )
        order = _sort(sort)
        if csv:
            typer.echo(export.csv(connection, filters, order), nl=False)
            return
        page = exceptions.page(connection, filters, sort=order, after=_place(after, order), limit=limit)
    if json:
        console.result({"exceptions": page.exceptions, "counts": page.counts, "next": _next(page.after)})
        return
    console.table(
        ("ID", "AGE", "STATE", "WHAT", "CODE", "AMOUNT", "SEEN", "WHO"),
        (
            (
                one.exception_id,
                console.age(one.created_at),
                one.state,
                one.title,
                one.code,
                _amount(one),
                one.occurrences,
                one.assignee,
            )
            for one in page.exceptions
        ),
    )
    console.note(", ".join(f"{number} {name}" for name, number in page.counts.items()))
    if page.after:
        console.note(f"more: --after {_next(page.after)}")


@app.command(epilog="Example: algasync exceptions show 0190b3c4-7d1e-7a55-9c1d-2f6c1b8a0d11")
def show(exception: Id, tenant: Tenant = None, json: Json = False) -> None:
    """Show one: what happened, why, how to fix it, its letters and its history."""
    from services.cli import identity, wiring
    from services.exceptions import exceptions

    with wiring.transaction(tenant) as connection:
        shown = exceptions.show(connection, identity.find(connection, "exception", exception))
    if json:
        console.result({"exception": shown.exception, "letters": shown.letters, "history": shown.history})
        return
    one = shown.exception
    document = f"{one.entity_kind} {one.number or one.entity_id}"
    console.say(f"{one.title}\n\n  happened  {one.happened}\n  why       {one.why}\n  fix       {one.fix}\n")
    console.facts(
        (
            ("state", f"{one.state}: {one.resolution}" if one.resolution else one.state),
            ("about", f"{document} ({one.entity_id})" if one.number else document),
            ("client", one.client_name or one.client_id),
            ("amount", _amount(one)),
            ("company", one.company_name or one.company_id),
            ("cause", one.cause),
            ("code", one.code),
            ("seen", f"{one.occurrences} times, first {console.age(one.created_at)} ago"),
            ("assigned to", one.assignee),
            ("operation", one.operation_id and f"{one.operation_id} {one.operation_state}"),
            ("attempt", one.operation_attempt),
        )
    )
    if shown.letters:
        console.say("\nDead letters")
        rows = (
            (x.letter_id, console.age(x.created_at), x.state, x.attempt, x.message) for x in shown.letters
        )
        console.table(("ID", "AGE", "STATE", "TRY", "MESSAGE"), rows)
    console.say("\nHistory")
    console.table(
        ("WHEN", "WHO", "DID", "DETAILS"),
        (
            (entry.at, entry.actor, entry.action, {k: v for k, v in entry.details.items() if k not in _KNOWN})
            for entry in shown.history
        ),
    )


_KNOWN = frozenset({"exception_id", "operation_id"})


@app.command(epilog="Example: algasync exceptions causes --tenant acme")
def causes(tenant: Tenant = None, limit: Limit = 50, json: Json = False) -> None:
    """List root causes, the widest first: one fix each."""
    from services.cli import wiring
    from services.exceptions import causes as root_causes

    with wiring.transaction(tenant) as connection:
        found = root_causes.page(connection, tenant, limit=limit)
    if json:
        console.result({"causes": found})
        return
    console.table(
        ("CAUSE", "TENANT", "HAS", "RETRYABLE", "OLDEST", "FIX"),
        ((c.cause, c.tenant, c.exceptions, c.releasable, console.age(c.oldest), c.fix) for c in found),
    )


@app.command(
    epilog="Example: algasync exceptions retry --tenant acme --cause mapping:item:<company>:<service>"
)
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


@app.command(epilog="Example: algasync exceptions ignore 0190b3c4-... --reason 'entered by hand'")
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


@app.command(epilog="Example: algasync exceptions reopen 0190b3c4-... --reason 'it matters after all'")
def reopen(
    ids: Ids, tenant: Tenant = None, reason: Reason = None, actor: Actor = None, json: Json = False
) -> None:
    """Put ignored or resolved exceptions back on the list."""
    from services.exceptions import lifecycle

    why = said(reason, "--reason", "it matters after all")
    _each(ids, tenant, lambda connection, one: lifecycle.reopen(connection, one, why, str(actor)))


@app.command(epilog="Example: algasync exceptions start 0190b3c4-...")
def start(ids: Ids, tenant: Tenant = None, actor: Actor = None, json: Json = False) -> None:
    """Say that somebody works on them."""
    from services.exceptions import lifecycle

    _each(ids, tenant, lambda connection, one: lifecycle.start(connection, one, str(actor)))


@app.command(epilog="Example: algasync exceptions assign dana@msp.example 0190b3c4-...")
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


@app.command(epilog="Example: algasync exceptions comment 0190b3c4-... 'asked the bookkeeper'")
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


def _sort(written: str) -> Sort:
    if written not in ("newest", "oldest", "seen", "amount"):
        raise _unknown("--sort", written, ("newest", "oldest", "seen", "amount"))
    return cast("Sort", written)


def _next(after: Place | None) -> str | None:
    """What `--after` takes to go on."""
    if after is None:
        return None
    value, exception_id = after
    return f"{value if isinstance(value, int) else value.isoformat()}/{exception_id}"


def _place(written: str | None, sort: Sort) -> Place | None:
    if written is None:
        return None
    value, _, exception_id = written.partition("/")
    try:
        return int(value) if sort == "amount" else datetime.fromisoformat(value), UUID(exception_id)
    except ValueError:
        raise typer.BadParameter("is no `next` of an earlier page of this order") from None


def _unknown(option: str, written: str, known: Sequence[str]) -> console.Told:
    sentence = f"{written!r} is none of {', '.join(known)}"
    return console.Told(sentence, code="invalid_value", field=option, exit_code=console.USAGE)


def _states(written: list[str] | None) -> tuple[str, ...]:
    from services.exceptions import exceptions

    if written is None:
        return exceptions.NEED_SOMEBODY
    if "all" in written:
        return ()
    for one in written:
        if one not in exceptions.STATES:
            raise _unknown("--state", one, (*exceptions.STATES, "all"))
    return tuple(written)


def _amount(one: SyncException) -> str | None:
    from messages.money import Money

    if one.amount is None or one.currency is None:
        return None
    return str(Money(one.amount, one.currency))
