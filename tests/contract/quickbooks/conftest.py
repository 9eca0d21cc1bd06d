"""A tiny real HTTP server that plays what a test says, and the ports of a client written down."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from services.quickbooks.client import Client
from services.quickbooks.environments import Environment
from services.quickbooks.transport import Timeouts, pooled_session
from tests.support.sandbox import Sandbox


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: tuple[str, int]

    @property
    def path(self) -> str:
        """The path without the query string."""
        return urlsplit(self.target).path

    @property
    def params(self) -> dict[str, str]:
        """The query string, decoded."""
        return dict(parse_qsl(urlsplit(self.target).query))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # the whole answer in one packet
    server: Wire

    def do_GET(self) -> None:
        """Take a read."""
        self.do_POST()

    def do_POST(self) -> None:
        """Keep the request and answer by the script."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(self.command, self.path, headers, body, self.client_address))
        self.server.play(self)

    def log_message(self, *_: Any) -> None:
        """Say nothing; the test looks at what was seen."""


class Wire(ThreadingHTTPServer):
    """Plays the answers a test scripts, one per request in order, and keeps every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[Seen] = []
        self.over = threading.Event()
        self.hung_up = threading.Event()
        self._script: deque[Callable[[_Handler], None]] = deque()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up on us is part of many tests."""

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and say so."""
        super().shutdown_request(request)
        self.hung_up.set()

    def play(self, handler: _Handler) -> None:
        """Answer one request by the script."""
        self._script.popleft()(handler)

    def say(self, status: int = 200, body: str | bytes = "", times: int = 1, **headers: str) -> None:
        """Answer with a status and a body; `_` in a header's name stands for `-`, except in intuit_tid."""
        content = body.encode() if isinstance(body, str) else body

        def answer(handler: _Handler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(content)))
            for name, value in {"intuit_tid": f"1-{len(self.seen)}", **headers}.items():
                handler.send_header(name if name == "intuit_tid" else name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(content)

        self._script.extend([answer] * times)

    def cut(self, after: bytes = b"") -> None:
        """Close the connection, having sent only these bytes of an answer."""

        def answer(handler: _Handler) -> None:
            handler.wfile.write(after)
            handler.wfile.flush()
            handler.close_connection = True

        self._script.append(answer)

    def hang(self) -> None:
        """Answer nothing until the test is over."""
        self._script.append(lambda _: (self.over.wait(30), None)[1])

    def trickle(self, pause: float, pieces: int, keep: str = "keep-alive") -> None:
        """Begin an answer, send so many bytes of it with pauses, then nothing until the test is over."""
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nConnection: {keep}\r\nintuit_tid: 1-slow\r\n\r\n"
        )

        def answer(handler: _Handler) -> None:
            handler.wfile.write(head.encode())
            handler.wfile.flush()
            for _ in range(pieces):
                if self.over.wait(pause):
                    return
                handler.wfile.write(b"x")
                handler.wfile.flush()
            self.over.wait(30)

        self._script.append(answer)


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A server for one test."""
    server = Wire()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Ports:
    """Limiter, tokens and meter that write down what they are asked."""

    token: str = "fake-access-token-1"
    refreshed: str | Exception = "fake-access-token-2"
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def acquire(self, company: str, kind: str) -> None:
        """Let everything pass."""
        self.asked.append(("acquire", company, kind))

    def pause(self, company: str, seconds: float, reason: str) -> None:
        """Write down the pause."""
        self.asked.append(("pause", company, seconds, reason))

    def access_token(self, company: str) -> str:
        """Hand out the token in force."""
        return self.token

    def refresh(self, company: str, rejected: str) -> str:
        """Renew the token, or fail as the test wants."""
        self.asked.append(("refresh", company, rejected))
        if isinstance(self.refreshed, Exception):
            raise self.refreshed
        self.token = self.refreshed
        return self.token

    def count(self, company: str, reads: int, operation: str) -> None:
        """Write down metered reads."""
        self.asked.append(("count", company, reads, operation))

    def of(self, what: str) -> list[list[Any]]:
        """What was asked of one kind, without the kind and the company."""
        return [rest for kind, _, *rest in self.asked if kind == what]


@pytest.fixture
def ports() -> Ports:
    """Ports for one test."""
    return Ports()


@pytest.fixture
def environment(wire: Wire) -> Environment:
    """An environment all of whose addresses are the test's server."""
    return Environment(
        name="test",
        api=wire.url,
        authorize=f"{wire.url}/connect/oauth2",
        token=f"{wire.url}/oauth2/v1/tokens/bearer",
        revoke=f"{wire.url}/v2/oauth2/tokens/revoke",
        discovery=f"{wire.url}/.well-known/openid_configuration/",
        userinfo=f"{wire.url}/v1/openid_connect/userinfo",
    )


@pytest.fixture
def session(environment: Environment) -> Iterator[requests.Session]:
    """The connections of one test."""
    with pooled_session(environment) as session:
        yield session


@pytest.fixture
def client(environment: Environment, ports: Ports, session: requests.Session) -> Client:
    """A client of the test's server, with short patience."""
    return Client(
        company="company-1",
        realm="9341",
        environment=environment,
        tokens=ports,
        limiter=ports,
        meter=ports,
        timeouts=Timeouts(connect=2, read=0.4, total=5),
        session=session,
    )


@dataclass
class Books:
    """A company of the sandbox: our client of it, and the control port's view of the same books."""

    sandbox: Sandbox
    realm: str
    ports: Ports
    client: Client
    environment: Environment

    def control(self, method: str, path: str, **body: Any) -> Any:
        """Ask the control port; a body makes it JSON."""
        answer = requests.request(method, f"{self.sandbox.control}{path}", json=body or None, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def of_company(self, method: str, path: str, **body: Any) -> Any:
        """Ask the control port about this company."""
        return self.control(method, f"/companies/{self.realm}{path}", **body)

    def bookkeeper(self, task: str, **body: Any) -> Any:
        """Have the bookkeeper do something at the browser."""
        return self.of_company("POST", f"/bookkeeper/{task}", **body)

    def switch(self, **switches: Any) -> None:
        """Turn what Intuit leaves open."""
        self.of_company("PATCH", "/switches", **switches)

    def trouble(self, kind: str, **rule: Any) -> None:
        """Make the next matching request go wrong once."""
        self.control("POST", "/troubles", kind=kind, realm=self.realm, **{"times": 1, **rule})

    def objects(self, entity: str) -> list[dict[str, Any]]:
        """All objects of one kind, past the API."""
        rows: list[dict[str, Any]] = self.of_company("GET", f"/objects/{entity}")
        return rows

    def mint(self) -> dict[str, Any]:
        """Get tokens without a browser; earlier ones end."""
        grant: dict[str, Any] = self.control(
            "POST", "/tokens", client_id="sandbox-client-id", realm=self.realm
        )
        return grant


def _books(sandbox: Sandbox, realm: str) -> Iterator[Books]:
    environment = Environment(
        name="sandbox",
        api=sandbox.api,
        authorize=f"{sandbox.api}/connect/oauth2",
        token=f"{sandbox.api}/oauth2/v1/tokens/bearer",
        revoke=f"{sandbox.api}/v2/oauth2/tokens/revoke",
        discovery=f"{sandbox.api}/.well-known/openid_sandbox_configuration/",
        userinfo=f"{sandbox.api}/v1/openid_connect/userinfo",
    )
    ports = Ports()
    with pooled_session(environment) as session:
        client = Client(
            company="company-1",
            realm=realm,
            environment=environment,
            tokens=ports,
            limiter=ports,
            meter=ports,
            timeouts=Timeouts(connect=2, read=2, total=5),
            session=session,
        )
        books = Books(sandbox, realm, ports, client, environment)
        ports.token = books.mint()["access_token"]
        books.switch(limits=False)
        yield books
        # The sandbox refuses what it does not model: a rule tested here must be one it knows.
        assert books.control("GET", "/unmodelled") == {}


@pytest.fixture
def books(sandbox: Sandbox) -> Iterator[Books]:
    """A company in the United States."""
    yield from _books(sandbox, "9341450000000001")


@pytest.fixture
def british(sandbox: Sandbox) -> Iterator[Books]:
    """A company in the United Kingdom."""
    yield from _books(sandbox, "9341450000000002")


@pytest.fixture
def multicurrency(sandbox: Sandbox) -> Iterator[Books]:
    """A company in the United States that bills in several currencies."""
    yield from _books(sandbox, "9341450000000003")
