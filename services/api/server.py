"""Serving the API until told to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from services.api.app import create_app
from services.api.context import Context
from services.configuration import Configuration
from services.connections.application import application
from services.connections.companies import Attention
from services.connections.intuit import Intuit
from services.connections.vault import Vault
from services.database import Database, Role

GRACE = 10  # seconds that requests under way have to finish

_log = structlog.get_logger()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to whoever starts us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def run(
    configuration: Configuration, stop: threading.Event, *, attention: Attention, database_url: str = ""
) -> None:
    """Serve on the configured host and port until `stop` is set; then finish what is under way and return.

    `database_url` replaces the configured one, for the embedded server. Raises ValueError without either, and
    ends the process' thread with SystemExit when the port is taken, as uvicorn does.
    """
    url = database_url or configuration.database_url
    with Database(url, Role.API, pool_size=10, application="algasync api") as database:
        intuit = Intuit(configuration, application(), Vault.of(configuration))
        serve(Context(database, intuit, attention), stop)


def serve(context: Context, stop: threading.Event) -> None:
    """Serve a context on its configured address until `stop` is set."""
    configuration = context.intuit.configuration
    server = _Server(
        uvicorn.Config(
            create_app(context),
            host=configuration.api_host,
            port=configuration.api_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE,
            server_header=False,
        )
    )

    def end() -> None:
        stop.wait()
        server.should_exit = True

    threading.Thread(target=end, name="api-stop", daemon=True).start()
    _log.info("api_starting", host=configuration.api_host, port=configuration.api_port)
    server.run()
    _log.info("api_stopped")
