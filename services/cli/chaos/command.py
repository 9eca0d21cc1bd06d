"""`algasync chaos`: prove on this machine that nothing is lost, doubled, out of order, stuck or silent."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import console
from services.cli.options import Json

if TYPE_CHECKING:
    from services.cli.chaos.outcome import Outcome, Watch

Kills = Annotated[int, typer.Option(min=0, help="SIGKILLs, by quota over all roles.")]
Documents = Annotated[int, typer.Option(min=1, help="Documents that billing makes meanwhile.")]
Seed = Annotated[int | None, typer.Option(help="Repeats history and kills of an earlier run.")]
Keep = Annotated[bool, typer.Option("--keep", help="Keep data and logs, also of a clean run.")]


def chaos(
    kills: Kills = 40, documents: Documents = 800, seed: Seed = None, keep: Keep = False, json: Json = False
) -> None:
    """Run the whole fleet on private servers, kill its processes while it works, and compare both books.

    Workers, relay, dispatcher, scheduler, collector, API, PostgreSQL and RabbitMQ are killed by quota, workers at
    every boundary of an export; processes are stopped beyond their leases, HTTP and AMQP cut and stalled, queues and
    servers filled up, rows locked for long, clocks set wrongly, tokens revoked, the broker's disk wiped once.
    Bookkeepers receive, correct, void and delete payments in QuickBooks meanwhile.
    Exit code 1 when anything is lost, doubled, out of order, stuck, silent or wrong.

    Example: algasync chaos --kills 200 --documents 20000 --seed 7
    """
    from services.cli.chaos.checker import Verdict
    from services.cli.chaos.harness import Plan, Run

    chosen = seed if seed is not None else secrets.randbelow(1_000_000)
    folder = Path(tempfile.mkdtemp(prefix="algasync-chaos-"))
    folder.chmod(0o711)  # root's PostgreSQL runs under another account and must be able to pass
    began = time.monotonic()
    clean = False
    try:
        with _watch(kills) as watch:
            outcome = Run(Plan(kills, documents, chosen), watch).go(folder)
        clean = not outcome.findings
    finally:
        if clean and not keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            console.note(f"data and logs: {folder} (seed {chosen})")
    found = Counter(str(finding.verdict) for finding in outcome.findings)
    seconds = round(time.monotonic() - began, 1)
    if console.mode.json:
        console.result(
            {
                "kills": outcome.kills.total(),
                "documents": outcome.documents,
                **{str(verdict): found[verdict] for verdict in Verdict},
                "seed": chosen,
                "events": outcome.events,
                "payments_received": outcome.received,
                "seconds": seconds,
                "kills_by_role": outcome.kills,
                "kills_by_boundary": outcome.boundaries,
                "boundaries_not_reached": outcome.not_reached,
                "acts": outcome.acts,
                "acts_not_felt": outcome.not_felt,
                "evidence": outcome.evidence,
                "acknowledged_by_api": outcome.acknowledged,
                "api_requests_repeated": outcome.repeated,
                "exceptions_retried": outcome.retried,
                "stops": outcome.stops,
                "cuts": outcome.cuts,
                "wipes": outcome.wipes,
                "fell": outcome.fell,
                "findings": outcome.findings,
            }
        )
    else:
        _print(outcome, found, chosen, seconds)
    if outcome.findings:
        raise typer.Exit(console.FAILED)


def _print(outcome: Outcome, found: Counter[str], seed: int, seconds: float) -> None:
    from services.cli.chaos.checker import Verdict

    if outcome.findings:
        console.table(
            ("WHAT", "TENANT", "DOCUMENT", "EVENT", "SAID"),
            (
                (one.verdict, one.tenant, one.document, one.event_id or "-", one.said)
                for one in outcome.findings
            ),
        )
    console.facts(
        [
            ("documents", outcome.documents),
            ("events", outcome.events),
            ("payments received in QuickBooks", outcome.received),
            ("kills", f"{outcome.kills.total()} ({_listed(outcome.kills)})"),
            ("at boundaries", _listed(outcome.boundaries)),
            ("not reached", _listed(outcome.not_reached)),
            ("troubles", _listed(outcome.acts)),
            ("not felt", _listed(outcome.not_felt)),
            ("felt by", _listed(outcome.evidence)),
            (
                "events acknowledged by the API",
                f"{outcome.acknowledged} ({outcome.repeated} requests repeated)",
            ),
            ("exceptions tried again", outcome.retried),
            ("stopped beyond leases", _listed(outcome.stops)),
            ("connections cut", outcome.cuts),
            ("broker's disk wiped", outcome.wipes),
            ("ended by themselves", _listed(outcome.fell)),
            *((str(verdict).replace("_", " "), str(found[verdict])) for verdict in Verdict),
            ("seed", seed),
            ("seconds", seconds),
        ]
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))


@contextmanager
def _watch(kills: int) -> Iterator[Watch]:
    """Progress on standard error: bars for a person, a line every ten kills elsewhere."""
    if not sys.stderr.isatty():
        yield _lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[what]}"), console=Console(stderr=True)) as bars:
        killed = bars.add_task("kills", total=kills, what="")
        done = bars.add_task("operations", total=None, what="")

        def watch(what: str, outcome: Outcome) -> None:
            bars.update(killed, completed=outcome.kills.total())
            bars.update(done, completed=outcome.done, total=outcome.events)
            if what:
                bars.update(killed, what=what)

        yield watch


def _lines(what: str, outcome: Outcome) -> None:
    struck = outcome.kills.total()
    if what and (not what.startswith("killing") or struck % 10 == 0):
        console.note(f"{struck} kills, {outcome.done} of {outcome.events} operations done: {what}")
