"""`algasync exceptions`: what needs a person, why, and what to do about it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, cast
from uuid import UUID

import typer

from services.cli import console, exception_acts
from services.cli.exception_acts import Id
from services.cli.options import Before, Company, Json, Limit, Since, Tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.exceptions.exceptions import Place, Sort, SyncException

app = typer.Typer(no_args_is_help=True, help="The exception list: what needs a person.")

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


app.command(
    epilog="Example: algasync exceptions retry --tenant acme --cause mapping:item:<company>:<service>"
)(exception_acts.retry)
app.command(epilog="Example: algasync exceptions ignore 0190b3c4-... --reason 'entered by hand'")(
    exception_acts.ignore
)
app.command(epilog="Example: algasync exceptions reopen 0190b3c4-... --reason 'it matters after all'")(
    exception_acts.reopen
)
app.command(epilog="Example: algasync exceptions start 0190b3c4-...")(exception_acts.start)
app.command(epilog="Example: algasync exceptions assign dana@msp.example 0190b3c4-...")(exception_acts.assign)
app.command(epilog="Example: algasync exceptions comment 0190b3c4-... 'asked the bookkeeper'")(
    exception_acts.comment
)


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
