"""`python -m deploy.local`: start, look at and stop the private servers; JSON on standard output."""

from __future__ import annotations

import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deploy.local import NotInstalledError, NotRunningError, PostgresqlServer, RabbitmqNode, StartError


class Server(StrEnum):
    """The servers that can be started here."""

    postgresql = "postgresql"
    rabbitmq = "rabbitmq"


Servers = Annotated[list[Server] | None, typer.Argument(help="Which servers; both when none is named.")]
Data = Annotated[Path, typer.Option(help="The folder that holds their data.")]

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True)


@app.command()
def start(servers: Servers = None, data: Data = Path(".data")) -> None:
    """Start the servers, or attach to those that run, and print their status.

    A RabbitMQ that is not installed is an error only when it was named.
    """
    postgresql, rabbitmq = _servers(data)
    wanted = servers or list(Server)
    if Server.rabbitmq in wanted:
        try:
            rabbitmq.launch()  # it takes 5 s, in which PostgreSQL comes up
        except NotInstalledError as missing:
            if servers:
                raise
            typer.echo(str(missing), err=True)
            wanted.remove(Server.rabbitmq)
    if Server.postgresql in wanted:
        postgresql.start()
    if Server.rabbitmq in wanted:
        rabbitmq.start()
    _print_status(data)


@app.command()
def stop(servers: Servers = None, data: Data = Path(".data")) -> None:
    """Stop the servers in order and print their status; their data stays."""
    postgresql, rabbitmq = _servers(data)
    if Server.rabbitmq in (servers or list(Server)):
        rabbitmq.stop()
    if Server.postgresql in (servers or list(Server)):
        postgresql.stop()
    _print_status(data)


@app.command()
def status(data: Data = Path(".data")) -> None:
    """Print which servers run, their versions, process ids and ports; exit code 0 whatever it is."""
    _print_status(data)


@app.command()
def env(data: Data = Path(".data")) -> None:
    """Print `export DATABASE_URL=...` and `export BROKER_URL=...` of what runs, passwords included."""
    postgresql, rabbitmq = _servers(data)
    found = False
    for name, server in (("DATABASE_URL", postgresql), ("BROKER_URL", rabbitmq)):
        try:
            typer.echo(f"export {name}={shlex.quote(server.url)}")
            found = True
        except NotRunningError as down:
            typer.echo(str(down), err=True)
    if not found:
        raise typer.Exit(1)


def _servers(data: Path) -> tuple[PostgresqlServer, RabbitmqNode]:
    return PostgresqlServer(data / "postgresql"), RabbitmqNode(data / "rabbitmq")


def _print_status(data: Path) -> None:
    postgresql, rabbitmq = _servers(data)
    typer.echo(json.dumps({"postgresql": postgresql.status(), "rabbitmq": rabbitmq.status()}, indent=2))


def main() -> None:
    """Run the command; a refusal is one sentence on standard error and exit code 1."""
    try:
        app(prog_name="python -m deploy.local")
    except (NotInstalledError, StartError) as refused:
        typer.echo(str(refused), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
