"""`algasync demo`: everything on this machine, with a tenant whose month is billed before your eyes."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer

from services.cli import console
from services.cli.options import Json

Count = Annotated[int, typer.Option(min=3, max=5000, help="Invoices to finalize.")]
Seed = Annotated[int, typer.Option(help="Of everything that chance decides; the same seed bills the same.")]
Once = Annotated[bool, typer.Option("--once", help="Run unattended, check, stop everything, exit 0 or 1.")]


def demo(once: Once = False, count: Count = 40, seed: Seed = 7, json: Json = False) -> None:
    """Start everything, connect a sandbox company, bill a month, see one invoice fail, mend it, check the books.

    In a terminal it shows a live view and stays until Ctrl-C. Without one, or with --once, it prints plain lines,
    verifies in the sandbox over HTTP that each document arrived exactly once and to the cent, and exits 0 or 1.

    Example: algasync demo --once --json
    """
    from rich.console import Console

    from services.cli.demo.narrators import LiveNarrator, PlainNarrator

    unattended = once or json or not sys.stdout.isatty()
    plain = PlainNarrator(sys.stderr if json else sys.stdout)
    well = not unattended  # Ctrl-C is how a watched run ends, and how an unattended one is cut short
    with _fleet(plain.say) as fleet:
        if unattended:
            started = time.monotonic()
            ending = _tell(fleet, plain, count, seed)
            result = _result(ending, fleet.broker, time.monotonic() - started)
            console.result(result) if json else plain.say(_verdict(result))
            well = bool(ending.well)
        else:
            with LiveNarrator(Console()) as live:
                ending = _tell(fleet, live, count, seed)
            plain.say(_verdict(_result(ending, fleet.broker, 0)))
            plain.say(_what_next(fleet))
            signal.pause()
    raise typer.Exit(0 if well else console.FAILED)


def up() -> None:
    """Start everything on this machine, and stay until Ctrl-C: servers as far as none are given, then the fleet.

    Example: DATABASE_URL=postgresql://... BROKER_URL=amqp://... algasync up
    """
    from services.cli.demo.narrators import PlainNarrator

    plain = PlainNarrator(sys.stdout)
    with _fleet(plain.say) as fleet:
        plain.say(_what_next(fleet))
        signal.pause()


@contextmanager
def _fleet(say: Any) -> Iterator[Any]:
    """A running fleet; Ctrl-C and SIGTERM end the block, and everything is stopped in order."""
    from deploy.local import StartError
    from services.cli.local_fleet import FleetError, LocalFleet
    from services.configuration import configuration

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    fleet = LocalFleet(configuration(), say)
    try:
        fleet.start()
        yield fleet
    except KeyboardInterrupt:
        say("Stopping ...")
    except (FleetError, StartError) as error:
        raise console.Told(str(error), code="not_started", exit_code=console.FAILED) from error
    finally:
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # an impatient second Ctrl-C must not leave servers behind
        fleet.stop()


def _tell(fleet: Any, narrator: Any, count: int, seed: int) -> Any:
    from services.cli.demo.story import Story, StoryError

    try:
        return Story(fleet, narrator, count, seed).run()
    except StoryError as error:
        raise console.Told(
            f"{error}. Logs are in {fleet.logs}; `algasync doctor` and `algasync exceptions list` say more",
            code="demo_stopped",
            exit_code=console.FAILED,
        ) from error


def _result(ending: Any, broker: str, seconds: float) -> dict[str, Any]:
    found = ending.findings
    return {
        "documents_expected": found.expected,
        "documents_arrived": found.arrived,
        "doubled": len(found.doubled),
        "missing": len(found.missing),
        "cents_off": sum(abs(cents) for cents in found.off.values()),
        "exceptions_open": ending.exceptions_open,
        "dead_letters_replayed": ending.dead_letters_replayed,
        "payments_received": ending.payments_received,
        "broker": broker,
        "seconds": round(seconds, 1),
    }


def _verdict(result: dict[str, Any]) -> str:
    return (
        f"{result['documents_arrived']} of {result['documents_expected']} documents arrived; "
        f"doubled {result['doubled']}, missing {result['missing']}, cents off {result['cents_off']}, "
        f"exceptions open {result['exceptions_open']}, dead letters replayed {result['dead_letters_replayed']}, "
        f"payments received {result['payments_received']}"
    )


def _what_next(fleet: Any) -> str:
    return f"""
  API             {fleet.api_url}        docs {fleet.api_url}/docs
  sandbox company {fleet.sandbox_url}    control {fleet.control_url}/docs
  logs            {fleet.logs}

  Try in another terminal, in this folder:
    .venv/bin/algasync operations list --tenant demo
    .venv/bin/algasync dead-letters list --tenant demo
    .venv/bin/algasync exceptions list --tenant demo
    .venv/bin/algasync doctor
  Ctrl-C stops everything; the next start carries on from here.
"""
