"""A small HTTP server in each process of the fleet: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Trouble = Callable[[], list[str]]


@contextmanager
def serve(host: str, port: int, *, faults: Trouble, obstacles: Trouble) -> Iterator[int]:
    """Listen while the block runs, and yield the port (0 chooses one).

    `/healthz` answers 503 while there are `faults`, which a restart mends; `/readyz` while there are `obstacles`.
    Both say in JSON what is wrong.
    """
    handler = type(
        "Handler", (_Handler,), {"faults": staticmethod(faults), "obstacles": staticmethod(obstacles)}
    )
    server = ThreadingHTTPServer((host, port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    faults: Trouble
    obstacles: Trouble

    def do_GET(self) -> None:
        match self.path:
            case "/healthz":
                self._say(self.faults())
            case "/readyz":
                self._say(self.obstacles())
            case "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest())
            case _:
                self._answer(404, "text/plain", b"/healthz, /readyz or /metrics\n")

    def _say(self, troubles: list[str]) -> None:
        body = json.dumps({"status": "failing" if troubles else "ok", "troubles": troubles}).encode()
        self._answer(503 if troubles else 200, "application/json", body)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing: probes come every few seconds."""
