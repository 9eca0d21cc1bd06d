"""Running a sandbox: two ports of one process, on loopback unless told otherwise."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from services.sandbox.answers import Protocol
from services.sandbox.app import create_app
from services.sandbox.settings import Settings
from services.sandbox.world import World

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a sandbox answers."""

    api: str
    control: str


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: two servers share the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class Sandbox:
    """A sandbox being served. `start` opens the ports; `serve` answers until `stop`."""

    def __init__(
        self, settings: Settings, port: int = 0, control_port: int = 0, host: str = LOOPBACK
    ) -> None:
        app = create_app(settings)
        self.world: World = app.state.world
        self._sockets = [_listen(host, port), _listen(host, control_port)]
        self._servers = [_server(app), _server(app.state.control)]
        api, control = (f"http://{host}:{x.getsockname()[1]}" for x in self._sockets)
        self.addresses = Addresses(api, control)

    async def serve(self) -> None:
        """Answer until `stop`; closes the state file."""
        delivery = asyncio.create_task(self.world.webhooks.run())
        try:
            async with asyncio.TaskGroup() as group:
                for server, listener in zip(self._servers, self._sockets, strict=True):
                    group.create_task(server.serve(sockets=[listener]))
        finally:
            delivery.cancel()
            self.world.journal.close()

    def stop(self) -> None:
        """Ask both servers to end; open connections are cut."""
        for server in self._servers:
            server.should_exit = server.force_exit = True


def run(settings: Settings, port: int = 0, control_port: int = 0, host: str = LOOPBACK) -> None:
    """Serve until SIGINT or SIGTERM; the first line on stdout is the addresses as JSON."""
    sandbox = Sandbox(settings, port, control_port, host)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, sandbox.stop)
        line = json.dumps({"api": sandbox.addresses.api, "control": sandbox.addresses.control})
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        await sandbox.serve()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve())


@contextmanager
def running(settings: Settings | None = None) -> Iterator[Sandbox]:
    """A sandbox in a thread of this process, for tests and demonstrations; ends with the block."""
    sandbox = Sandbox(settings or Settings())

    def serve() -> None:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(sandbox.serve())

    thread = threading.Thread(target=serve, name="sandbox", daemon=True)
    thread.start()
    try:
        yield sandbox
    finally:
        sandbox.stop()
        thread.join(timeout=10)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=2048)
    listener.setblocking(False)
    return listener


def _server(app: FastAPI) -> _Server:
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,
    )
    return _Server(config)
