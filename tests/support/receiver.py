"""Somebody else's server: remembers every post it gets, and answers as a test wants."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from tests.support.deadline import eventually

LOOPBACK: Final = ip_network("127.0.0.0/8")
"""Where receivers listen: private, so an operator has to allow it."""


@dataclass(frozen=True)
class Post:
    """One request as it arrived; names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def event(self) -> dict[str, Any]:
        """The event in it."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def event_id(self) -> str:
        """Id of the event."""
        return str(self.event["id"])

    @property
    def delivery_id(self) -> str:
        """Id of the delivery, the same each time it is sent."""
        return self.headers["x-alga-delivery-id"]

    def is_signed_with(self, secret: str) -> bool:
        """Whether the signature is right, as a receiver would check it from AlgaPSA's description alone."""
        parts = dict(part.split("=", 1) for part in self.headers["x-alga-signature"].split(","))
        signed = parts["t"].encode() + b"." + self.body
        wanted = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        return list(parts) == ["t", "v1"] and hmac.compare_digest(parts["v1"], wanted)


Answer = int | tuple[int, Mapping[str, str], bytes] | None
"""A status, or status, headers and body; None: say nothing and hang up."""


@dataclass
class Receiver:
    """A running server. `answer` may block, and may be exchanged while it runs."""

    url: str
    answer: Callable[[Post], Answer] = lambda _: 200
    got: list[Post] = field(default_factory=list)

    def ids(self) -> list[str]:
        """Ids of the events that arrived, repetitions included."""
        return [post.event_id for post in self.got]

    def wait(self, count: int, timeout: float = 15) -> list[Post]:
        """Wait until so many requests came."""
        eventually(lambda: len(self.got) >= count, timeout, what=f"{count} requests; {len(self.got)} came")
        return self.got


@contextmanager
def receiver(certificate: Path | None = None, host: str = "127.0.0.1") -> Iterator[Receiver]:
    """A server on a free port of the loopback; with TLS when a certificate (with its key) is given."""
    here: Receiver

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            post = Post(self.command, self.path, headers, body)
            here.got.append(post)
            answer = here.answer(post)
            self.close_connection = True
            if answer is None:
                return
            status, more, said = (answer, {}, b"") if isinstance(answer, int) else answer
            try:
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(said)
            except OSError:
                return  # the caller is gone

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A caller that leaves in the middle is what some tests are about."""

    with Server((host, 0), Handler) as server:
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        here = Receiver(f"{scheme}://{host}:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join(5)
