"""`algasync top`: a live view of what waits, fails or ages; what it cannot see, it says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import console
from services.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from services.cli.figures import Figures


@dataclass
class Sight:
    """One look at the fleet, as far as it could be seen."""

    figures: Figures | None
    depths: Mapping[str, int | None] = field(default_factory=dict)  # messages by queue; None: not declared
    unseen: list[str] = field(default_factory=list)


def top(
    every: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
    companies: Annotated[int, typer.Option(min=0, max=50, help="How many companies to list.")] = 8,
    json: Json = False,
) -> None:
    """Show queues, operations by state, the busiest companies, the oldest work, rates. Ctrl-C ends it.

    With --json, or when its output is no terminal, one look. Exit code 3 when even the database cannot be reached.

    Example: algasync top --every 2
    """
    if once or json or not console.on_terminal():
        seen = see(companies)
        if json:
            console.result(_plain(seen))
        else:
            _print(seen)
        if seen.figures is None:
            raise typer.Exit(console.UNREACHABLE)
        return
    from rich.live import Live

    with Live(screen=True, auto_refresh=False) as live:
        try:
            while True:
                live.update(_drawn(see(companies)), refresh=True)
                time.sleep(every)
        except KeyboardInterrupt:
            return


def see(companies: int) -> Sight:
    """Look at database and broker; what cannot be reached is named and the rest is shown."""
    from sqlalchemy.exc import SQLAlchemyError

    from services.cli import figures, wiring
    from services.cli.console import Told
    from services.cli.errors import in_words

    sight = Sight(None)
    try:
        with wiring.transaction(None) as connection:
            sight.figures = figures.look(connection, companies=companies)
    except (SQLAlchemyError, Told) as error:
        sight.unseen.append(f"the database: {in_words(error) or error}")
    try:
        sight.depths = _depths(wiring.broker_url())
    except OSError as error:
        sight.unseen.append(f"the broker's queues: it does not answer ({type(error).__name__})")
    except Told as error:
        sight.unseen.append(f"the broker's queues: {error.sentence}")
    return sight


def _depths(url: str) -> dict[str, int | None]:
    """Messages ready in each queue. Raises `OSError` when the broker cannot be reached."""
    import amqp
    from kombu.exceptions import OperationalError

    from workers import topology

    if not url:
        return {}
    depths: dict[str, int | None] = {}
    try:
        with topology.connect(url) as connection:
            for queue in topology.QueueName:
                channel = connection.channel()  # its own: a missing queue closes the channel it is asked on
                try:
                    depths[queue] = channel.queue_declare(queue.versioned, passive=True).message_count
                    channel.close()
                except amqp.NotFound:
                    depths[queue] = None
    except (OperationalError, amqp.AMQPError) as error:
        raise ConnectionError(str(error)) from error
    return depths


def _sections(seen: Sight) -> list[tuple[str, list[tuple[str, str]]]]:
    """Headings, each with names and values."""
    found = seen.figures
    if found is None:
        return []
    freshness = found.freshness
    return [
        (
            "From billing",
            [
                ("not published", _count(found.outbox["unpublished"], found.outbox["oldest_unpublished"])),
                ("under way", _count(found.outbox["under_way"], found.outbox["oldest_under_way"])),
            ],
        ),
        (
            "Operations",
            [
                (state, str(found.operations.get(state, 0)))
                for state in ("queued", "running", "scheduled", "waiting")
            ]
            + [("oldest due", f"{found.oldest_due:.0f}s")]
            + [(f"waits for {condition}", str(number)) for condition, number in sorted(found.waits.items())],
        ),
        (
            "Last five minutes",
            [(kind.replace("_", " "), str(number)) for kind, number in sorted(found.done.items())]
            + (
                [("taken to done", f"p50 {freshness['0.5']:.2f}s  p99 {freshness['0.99']:.2f}s")]
                if freshness
                else []
            ),
        ),
        (
            "Needs a person",
            [
                ("failed operations", str(found.operations.get("failed", 0))),
                ("dead letters", str(sum(found.letters.values()))),
                *(
                    (f"{type_.removeprefix('accounting_')} {state}", _count(number, age))
                    for (type_, state), (number, age) in sorted(found.exceptions.items())
                ),
            ],
        ),
        (
            "QuickBooks",
            [
                *((f"companies {state}", str(number)) for state, number in sorted(found.companies.items())),
                (
                    "stop switches on",
                    ", ".join(f"{n} {scope}" for scope, n in sorted(found.pauses.items())) or "none",
                ),
                (
                    "call slots",
                    f"{found.limiter['longest']:.1f}s ahead, {found.limiter['resting']:.0f} resting",
                ),
                ("reads this month", str(found.reads)),
                ("polls", f"{found.feed['overdue']:.0f}s late, {found.feed['incomplete']:.0f} incomplete"),
                ("first token ends", f"in {found.token_days:.0f} days"),
                ("liveness violations", str(sum(found.violations.values()))),
            ],
        ),
        (
            "Broker",
            [(queue, "not declared" if depth is None else str(depth)) for queue, depth in seen.depths.items()]
            or [("", "in-process, or not seen")],
        ),
    ]


def _busiest(seen: Sight) -> list[tuple[str, ...]]:
    listed = seen.figures.busiest if seen.figures else []
    return [
        (
            b.tenant_id,
            b.company,
            b.state,
            str(b.unfinished),
            str(b.waiting),
            str(b.failed),
            f"{b.oldest:.0f}s",
        )
        for b in listed
    ]


_COLUMNS = ("TENANT", "COMPANY", "STATE", "UNFINISHED", "WAITING", "FAILED", "OLDEST")


def _drawn(seen: Sight) -> RenderableType:
    from rich.columns import Columns
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    panels = []
    for heading, rows in _sections(seen):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim")
        grid.add_column(justify="right")
        for name, value in rows:
            grid.add_row(Text(name), Text(value))
        panels.append(Panel(grid, title=heading, border_style="dim"))
    table = Table(*_COLUMNS, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for row in _busiest(seen):
        table.add_row(*map(Text, row))
    lost = [Text(f"cannot see {what}", style="bold red") for what in seen.unseen]
    moment = Text(time.strftime("algasync top  %H:%M:%S   Ctrl-C ends"), style="dim")
    return Group(moment, *lost, Columns(panels), table)


def _print(seen: Sight) -> None:
    for heading, rows in _sections(seen):
        console.say(heading)
        for name, value in rows:
            console.say(f"  {name:<32} {value}")
    if busiest := _busiest(seen):
        console.say("Busiest companies")
        console.table(_COLUMNS, busiest)
    for what in seen.unseen:
        console.note(f"cannot see {what}")


def _plain(seen: Sight) -> dict[str, Any]:
    found = seen.figures
    told: dict[str, Any] = {"broker": seen.depths, "unseen": seen.unseen}
    if found is not None:
        told |= {name: value for name, value in console.plain(found).items() if name != "exceptions"}
        told["exceptions"] = [
            {"type": type_, "state": state, "number": number, "oldest": age}
            for (type_, state), (number, age) in found.exceptions.items()
        ]
    return told


def _count(number: float, age: float) -> str:
    return f"{number:.0f}, oldest {age:.0f}s" if number else "0"
