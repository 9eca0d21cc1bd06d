"""The tree of commands, and what an error becomes: a sentence and an exit code.

Modules of commands import the rooms inside their functions, so that help and completion stay instant.
"""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer
from typer.exceptions import TyperException

from services.cli import (
    benches,
    connections,
    csv_export,
    dead_letters,
    decisions,
    drift,
    exceptions,
    explain,
    keys,
    maintenance,
    mappings,
    notices,
    onboard,
    operations,
    pauses,
    plan,
    processes,
    readiness,
    reconcile,
    recovery,
    settings,
    subscriptions,
    sync_now,
    top,
)
from services.cli.chaos import command as chaos
from services.cli.console import FAILED, USAGE, Told, fail, mode
from services.cli.demo import command
from services.cli.errors import in_words


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("algasync"))
        raise typer.Exit


app = typer.Typer(
    name="algasync",
    epilog="Exit codes: 0 done, 1 failed or findings, 2 wrong input (nothing changed), 3 a server cannot be reached.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 110},
)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keeps AlgaPSA and QuickBooks Online in step: nothing lost, nothing doubled, nothing silent."""
    from services.cli import logs

    logs.configure("console", "warning")  # on standard error; a process configures its own


app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(exceptions.app, name="exceptions")
operations.app.command("decide")(decisions.decide)
app.add_typer(operations.app, name="operations")
app.add_typer(connections.app, name="connections")
app.add_typer(drift.app, name="drift")
app.command("sync-now")(sync_now.sync_now)
app.add_typer(mappings.app, name="mappings")
app.add_typer(settings.app, name="settings")
app.add_typer(csv_export.app, name="csv")
app.add_typer(keys.app, name="keys")
app.add_typer(subscriptions.app, name="subscriptions")
app.add_typer(notices.app, name="notices")
app.command("top")(top.top)
app.command("explain")(explain.explain)
app.command("pause")(pauses.pause)
app.command("resume")(pauses.resume)
app.command("demo")(command.demo)
app.command("up")(command.up)
app.command("migrate")(maintenance.migrate)
app.add_typer(benches.app, name="bench")
app.add_typer(onboard.app, name="onboard")
app.add_typer(reconcile.app, name="reconcile")
app.command("plan")(plan.plan)
app.command("readiness")(readiness.readiness)
for process in (
    processes.relay,
    processes.workers,
    processes.dispatcher,
    processes.scheduler,
    processes.collector,
    processes.embedded,
    processes.api,
    processes.sandbox,
):
    app.command(process.__name__, rich_help_panel="Processes")(process)
app.command("doctor")(maintenance.doctor)
app.command("renew-secrets")(maintenance.renew_secrets)
app.command("recover")(recovery.recover)
app.command("chaos")(chaos.chaos)


def run() -> None:
    """Run the command of this process; every foreseeable error ends as a sentence and an exit code."""
    try:
        if "--json" not in sys.argv:
            app()
        code = app(standalone_mode=False)
    except TyperException as error:  # input that no command has seen yet
        mode.json = True
        fail(_misread(error))
        sys.exit(USAGE)
    except typer.Abort:
        sys.exit(FAILED)
    except Exception as error:
        told = in_words(error)
        if told is None:
            raise
        fail(told)
        sys.exit(told.exit_code)
    sys.exit(code or 0)


def _misread(error: TyperException) -> Told:
    parameter = getattr(error, "param", None)
    field = parameter.opts[0] if parameter is not None else getattr(error, "option_name", "")
    return Told(error.format_message(), code="usage", field=field, exit_code=USAGE)
