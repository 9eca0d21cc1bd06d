"""`algasync sync-now`: read what changed in a QuickBooks company at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import console
from services.cli.options import Actor, Company, Json, OneTenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.inbound.cycles import Cycle

LOOK = 0.25  # seconds between two looks whether the cycle has ended

Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the answer; 0 only asks.")]


def sync_now(
    tenant: OneTenant, company: Company = None, wait: Wait = 60, actor: Actor = None, json: Json = False
) -> None:
    """Read what changed in the tenant's default company, or another one, and show the cycle's certificate.

    It works with automatic sync switched off too. Exit code 1: the cycle did not see everything, or has not ended yet.

    Example: algasync sync-now --tenant acme
    """
    from services.cli import wiring
    from services.database.engine import ALL_TENANTS
    from services.inbound import schedule

    with wiring.fleet_database(pool_size=1) as database:
        with database.transaction(tenant) as connection:
            company_id = wiring.chosen_company(connection, tenant, company).company_id
            since = schedule.ask(connection, company_id, str(actor))
        cycle = None
        for _ in _within(wait):
            with database.transaction(ALL_TENANTS) as connection:
                cycle = schedule.answer(connection, company_id, since)
            if cycle is not None:
                break
    if not wait:
        _tell(None, "asked")
    elif cycle is None:
        _tell(None, "unanswered")
        raise typer.Exit(console.FAILED)
    else:
        _tell(cycle, cycle.state)
        raise typer.Exit(console.OK if cycle.state == "complete" else console.FAILED)


def _within(seconds: float) -> Iterator[None]:
    """Turns to look, with rests in between, for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(LOOK)


def _tell(cycle: Cycle | None, state: str) -> None:
    if console.mode.json:
        console.result({"state": state, "cycle": cycle})
    elif cycle is None:
        console.say(
            {
                "asked": "Asked; the scheduler begins within a second.",
                "unanswered": "No answer yet. Is the fleet running, and the company not paused? "
                "See: algasync operations list --kind poll",
            }[state]
        )
    else:
        seen = ", ".join(f"{number} {name}" for name, number in cycle.outcomes.items()) or "nothing new"
        console.facts(
            (
                ("cycle", f"{cycle.number}, {cycle.state}"),
                ("window", f"{cycle.asked_from:%Y-%m-%d %H:%M:%S} to {cycle.cursor_after:%Y-%m-%d %H:%M:%S}")
                if cycle.cursor_after
                else ("window", f"from {cycle.asked_from:%Y-%m-%d %H:%M:%S}"),
                ("seen", seen),
                ("metered reads", cycle.reads),
                ("made whole by", "; ".join(cycle.resolution)),
                ("incomplete because", cycle.reason),
            )
        )
