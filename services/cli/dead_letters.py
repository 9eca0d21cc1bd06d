"""`algasync dead-letters`: read, replay and discard what the broker gave up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from services.cli import batches, console
from services.cli.options import (
    Actor,
    After,
    Because,
    Company,
    DryRun,
    Json,
    Limit,
    Rate,
    Since,
    Tenant,
    Yes,
    next_page,
    said,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

    from services.exceptions.archive import Filters

app = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, replay, amend, discard.")

Ids = Annotated[
    list[str] | None, typer.Option("--id", help="Only this letter; give it several times for more.")
]
Queue = Annotated[str | None, typer.Option(help="Only letters that died in this queue, e.g. export.")]
Why = Annotated[
    str | None,
    typer.Option("--reason", help="Only letters that died of this, e.g. rejected, missing_item_mapping."),
]
Type = Annotated[
    str | None,
    typer.Option("--type", help="Only this kind of operation or type of event, e.g. invoice.finalized.v1."),
]
State = Annotated[str, typer.Option(help="open, replayed, discarded, resolved or all.")]


@app.command("list", epilog="Example: algasync dead-letters list --tenant acme --since 7d")
def list_(
    tenant: Tenant = None,
    company: Company = None,
    queue: Queue = None,
    reason: Why = None,
    type_: Type = None,
    since: Since = None,
    ids: Ids = None,
    state: State = "open",
    limit: Limit = 50,
    after: After = None,
    json: Json = False,
) -> None:
    """List dead letters, oldest first."""
    from services.cli import broker, wiring
    from services.exceptions import archive

    with wiring.transaction(tenant) as connection:
        filters = _filters(connection, tenant, company, queue, reason, type_, since, ids, _states(state))
        page = archive.page(connection, filters, after=after, limit=limit)
    unseen = broker.uncollected_letters()
    if json:
        console.result(
            {
                "letters": page.letters,
                "counts": page.counts,
                "next": next_page(page.after),
                "not_seen": unseen,
            }
        )
        return
    console.table(
        ("ID", "AGE", "TENANT", "QUEUE", "TYPE", "REASON", "TRY", "SEEN", "MESSAGE"),
        (
            (
                one.letter_id,
                console.age(one.created_at),
                one.tenant_id or "-",
                one.queue,
                (one.type or "-").removeprefix("com.algapsa.billing."),
                one.code,
                one.attempt,
                one.occurrences,
                one.message,
            )
            for one in page.letters
        ),
        obvious={"TENANT": tenant},
    )
    console.note(", ".join(f"{number} {name}" for name, number in page.counts.items()))
    if page.after:
        console.note(f"more: --after {next_page(page.after)}")
    if unseen:
        console.note(unseen)


@app.command(epilog="Example: algasync dead-letters show 0190b3c4-7d1e-7a55-9c1d-2f6c1b8a0d11")
def show(
    letter: Annotated[str, typer.Argument(help="The letter: its id, or the end of it.")], json: Json = False
) -> None:
    """Show one letter: why it died, its body, and what a replay would do."""
    from services.cli import identity, wiring
    from services.exceptions import archive, replays

    with wiring.transaction(None) as connection:
        letter_id = identity.find(connection, "letter", letter)
        found = archive.get(connection, letter_id)
        body = archive.body(connection, letter_id).decode("utf-8", "backslashreplace")
        step = replays.plan(connection, archive.Filters(states=(), ids=[letter_id]))[0]
    if json:
        console.result({"letter": found, "body": body, "replay": step})
        return
    console.facts((name.replace("_", " "), value) for name, value in console.plain(found).items())
    console.say(f"\na replay: {step.explanation}\n\n{body}")


@app.command(
    epilog="Example: algasync dead-letters replay --reason missing_item_mapping --because 'item mapped'"
)
def replay(
    tenant: Tenant = None,
    company: Company = None,
    queue: Queue = None,
    reason: Why = None,
    type_: Type = None,
    since: Since = None,
    ids: Ids = None,
    because: Because = None,
    limit: Limit = 10_000,
    dry_run: DryRun = False,
    rate: Rate = 20,
    yes: Yes = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Replay letters: a new attempt of the same operation, or the same event emitted again.

    Every letter is a transaction of its own: what was interrupted goes on when the command is run again.
    """
    from services.cli import wiring
    from services.exceptions import replays

    why = because or "replayed from the command line"
    with wiring.transaction(tenant) as connection:
        filters = _filters(connection, tenant, company, queue, reason, type_, since, ids, ("open",))
        plan = replays.plan(connection, filters, limit=limit)

    def act(connection: Connection, letter_id: UUID) -> replays.Step:
        return replays.replay(connection, letter_id, str(actor), why)

    batches.carry_out("replayed", plan, act, tenant=tenant, dry_run=dry_run, rate=rate, yes=yes)


@app.command(
    epilog="Example: algasync dead-letters amend 0190b3c4-... --body fixed.json --because 'currency was missing'"
)
def amend(
    letter: Annotated[str, typer.Argument(help="The letter: its id, or the end of it.")],
    body: Annotated[
        Path,
        typer.Option(
            exists=True, dir_okay=False, help="The corrected message, whole; `show` prints it as it died."
        ),
    ],
    because: Because = None,
    dry_run: DryRun = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Correct the body of a dead event and send it again; shows what changed. Id, document and sequence stay.

    The body as it died is kept, with who changed it, when and why.
    """
    from services.cli import identity, wiring
    from services.exceptions import amendments

    why = "" if dry_run else said(because, "--because", "the currency was missing")
    with wiring.transaction(None) as connection:
        letter_id = identity.find(connection, "letter", letter)
        done = amendments.amend(connection, letter_id, body.read_bytes(), str(actor), why)
        if dry_run:
            connection.rollback()
    if json:
        console.result({"dry_run": dry_run, "difference": done.difference, "step": done.step})
        return
    for line in done.difference:
        console.say(line)
    console.say(f"\n{'would do: ' if dry_run else ''}{done.step.explanation}")


@app.command(epilog="Example: algasync dead-letters discard --id 0190b3c4-... --because 'entered by hand'")
def discard(
    tenant: Tenant = None,
    company: Company = None,
    queue: Queue = None,
    reason: Why = None,
    type_: Type = None,
    since: Since = None,
    ids: Ids = None,
    because: Because = None,
    limit: Limit = 10_000,
    dry_run: DryRun = False,
    rate: Rate = 20,
    yes: Yes = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Give letters up, with the failed operations behind them; later steps of their documents go on."""
    from services.cli import wiring
    from services.exceptions import replays

    why = "" if dry_run else said(because, "--because", "entered by hand")
    if (company, queue, reason, type_, since) == (None,) * 5 and not ids:
        raise console.Told(
            "say which letters: --id, --company, --queue, --reason, --type or --since",
            code="nothing_chosen",
            field="--id",
            exit_code=console.USAGE,
        )
    with wiring.transaction(tenant) as connection:
        filters = _filters(connection, tenant, company, queue, reason, type_, since, ids, ("open",))
        plan = replays.plan_discard(connection, filters, limit=limit)

    def act(connection: Connection, letter_id: UUID) -> replays.Step:
        return replays.discard(connection, letter_id, str(actor), why)

    batches.carry_out("discarded", plan, act, tenant=tenant, dry_run=dry_run, rate=rate, yes=yes)


def _states(written: str) -> tuple[str, ...]:
    from services.exceptions import archive

    if written == "all":
        return ()
    if written not in archive.STATES:
        raise console.Told(
            f"{written!r} is none of {', '.join(archive.STATES)}, all",
            code="invalid_value",
            field="--state",
            exit_code=console.USAGE,
        )
    return (written,)


def _filters(
    connection: Connection,
    tenant: str | None,
    company: str | None,
    queue: str | None,
    reason: str | None,
    type_: str | None,
    since: datetime | None,
    written: Collection[str] | None,
    states: tuple[str, ...],
) -> Filters:
    from services.cli import identity, wiring
    from services.exceptions import archive

    ids = [identity.find(connection, "letter", one) for one in written or ()]
    for one in ids:
        archive.get(connection, one)  # a letter that does not exist is an error, not an empty list
    return archive.Filters(
        tenant=tenant,
        states=() if ids else states,
        company_id=wiring.company_id(connection, tenant, company),
        queue=queue,
        reason=reason,
        type=type_,
        since=since,
        ids=ids,
    )
