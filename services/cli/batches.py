"""Acting on many things, one transaction each: plan, question, pace, progress, and what became of every one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import typer

from services.cli import console

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.exceptions.replays import Step


def carry_out(
    done: str,
    plan: Sequence[Step],
    act: Callable[[Connection, UUID], Step],
    *,
    tenant: str | None,
    dry_run: bool,
    rate: float,
    yes: bool,
) -> None:
    """Show the plan, ask when a person is there, then act on each letter that can be acted on.

    Ends with exit code 1 when something chosen was not done.
    """
    acting = [step for step in plan if step.acts]
    if not plan:
        console.note("No dead letter matches.")
    if dry_run or not acting:
        _report(done, plan, tenant, dry_run=dry_run)
        return
    if not console.mode.json:
        _print(plan, tenant)
    if not yes and len(acting) > 1 and sys.stdin.isatty() and console.on_terminal():
        typer.confirm(f"{len(acting)} letters are to be {done}. Go on?", abort=True)
    _report(done, [*_act_on(acting, act, tenant, rate), *(step for step in plan if not step.acts)], tenant)


def _act_on(
    steps: Sequence[Step], act: Callable[[Connection, UUID], Step], tenant: str | None, rate: float
) -> Iterator[Step]:
    from services.cli import wiring
    from services.database.engine import ALL_TENANTS

    with wiring.fleet_database(pool_size=1) as database, _progress(len(steps)) as advance:
        due = time.monotonic()
        for step in steps:
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic()) + (1 / rate if rate else 0)
            with database.transaction(tenant or ALL_TENANTS) as connection:
                outcome = act(connection, step.letter_id)
            advance()
            yield outcome


def _report(done: str, steps: Sequence[Step], tenant: str | None, *, dry_run: bool = False) -> None:
    acted = [step for step in steps if step.acts]
    if console.mode.json:
        console.result(
            {"dry_run": dry_run, "chosen": len(steps), done: 0 if dry_run else len(acted), "steps": steps}
        )
    else:
        if dry_run or not acted:
            _print(steps, tenant)
        left = f", {len(steps) - len(acted)} left as they are" if len(steps) > len(acted) else ""
        console.say(f"{len(acted)} {'would be ' if dry_run else ''}{done}{left}.")
    if not dry_run and len(acted) < len(steps):
        raise typer.Exit(console.FAILED)


def _print(steps: Sequence[Step], tenant: str | None) -> None:
    if steps:
        console.table(
            ("ID", "TENANT", "DOES", "EXPLANATION"),
            ((step.letter_id, step.tenant or "-", step.action, step.explanation) for step in steps),
            obvious={"TENANT": tenant},
        )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error when a person watches; nothing elsewhere."""
    if not sys.stderr.isatty() or total < 20:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
