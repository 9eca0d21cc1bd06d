"""Sending bytes and getting bytes back, within a time, over pooled connections.

Tells apart what the ledger must know: nothing was sent (`NotSent`), or it was and no answer came
(`UnknownOutcome`). Knows nothing of QuickBooks' formats.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError, SSLError

from services.quickbooks.environments import Environment
from services.quickbooks.errors import NotSent, UnknownOutcome
from services.quickbooks.reply import Answer

# At DEBUG urllib3 writes whole addresses, and a query's address names clients.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds: for a connection, for the next byte, and for the whole call.

    Intuit gives up on a request after 120 s. `total` covers everything `Client.execute` does: waiting for the
    limiter, a refresh of the token, a second try.
    """

    connect: float = 5.0
    read: float = 60.0
    total: float = 90.0

    def __post_init__(self) -> None:
        if not 0 < self.connect <= self.total or not 0 < self.read <= self.total:
            raise ValueError(f"timeouts: connect and read must be above 0 and within total, not {self}")

    @classmethod
    def within(cls, lease: float) -> Timeouts:
        """Return timeouts that leave a fifth of a lease (in seconds) to record what came of the call."""
        usual, total = cls(), lease * 0.8
        return cls(connect=min(usual.connect, total / 4), read=min(usual.read, total), total=total)


class Deadline:
    """The moment by which a call must be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end - time.monotonic())


class Session(requests.Session):
    """A session that remembers the way to each server, so that a call need not find it anew."""

    def __init__(self) -> None:
        super().__init__()
        self._ways: dict[str, Way] = {}

    def way(self, url: str) -> Way:
        """The way to the server of an address."""
        origin = "/".join(url.split("/", 3)[:3])
        return self._ways.get(origin) or self._ways.setdefault(origin, self._find(url))

    def _find(self, url: str) -> Way:
        adapter = self.get_adapter(url)
        assert isinstance(adapter, HTTPAdapter)
        request = requests.PreparedRequest()
        request.prepare(method="GET", url=url)
        pool = adapter.get_connection_with_tls_context(request, self.verify, self.proxies, self.cert)
        assert isinstance(pool, urllib3.HTTPConnectionPool)
        return Way(pool, adapter.request_url(request, self.proxies) == request.url)


@dataclass(frozen=True, slots=True)
class Way:
    """Connections to a server; `whole`: a proxy on the way wants to be told the whole address."""

    pool: urllib3.HTTPConnectionPool
    whole: bool


def pooled_session(environment: Environment, size: int = 32) -> Session:
    """Return a session that any number of threads may share; it keeps up to `size` connections open.

    Proxies and certificates come from the environment variables requests knows, read once: looking them up on
    every call costs more than the call. It neither keeps nor sends cookies, and asks nothing twice by itself.
    """
    session = Session()
    session.trust_env = False
    session.proxies = get_environ_proxies(environment.api)
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=8, pool_maxsize=size, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def exchange(
    session: Session,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    timeouts: Timeouts,
    deadline: Deadline,
) -> Answer:
    """Send one request and read its answer in full, by the deadline. Redirects are not followed.

    Raises NotSent when no connection was made, UnknownOutcome when the request left and no whole answer came.
    The session's connections are used without its `send`, which costs as much again as the exchange itself.
    """
    if deadline.left < 0.001:
        raise NotSent("no time was left to make the call; nothing was sent")
    way = session.way(url)
    timeout = urllib3.Timeout(
        connect=min(timeouts.connect, deadline.left), read=timeouts.read, total=deadline.left
    )
    try:
        response = way.pool.urlopen(
            method,
            url if way.whole else "/" + url.split("/", 3)[3],
            body=content or None,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=timeout,
            preload_content=False,
            decode_content=False,
        )
    except (HTTPError, OSError) as failure:
        raise _failed(failure, sent=not _before_the_request(failure)) from failure
    try:
        received = _read(response, timeouts, deadline)
    except (HTTPError, OSError) as failure:
        response.close()
        raise UnknownOutcome(
            f"the answer of QuickBooks was cut off ({type(failure).__name__})",
            status=response.status,
            intuit_tid=response.headers.get("intuit_tid"),
        ) from failure
    return Answer(
        response.status, {name.lower(): value for name, value in response.headers.items()}, received
    )


def failed(failure: requests.RequestException) -> NotSent | UnknownOutcome:
    """Return what a failure of `requests` tells, without its text: that names the address, and so the query."""
    reason = getattr(failure.args[0] if failure.args else None, "reason", None)
    refused = isinstance(failure, (requests.ConnectTimeout, requests.exceptions.ProxyError))
    return _failed(reason or failure, sent=not (refused or _before_the_request(reason)))


def _failed(cause: BaseException, *, sent: bool) -> NotSent | UnknownOutcome:
    name = type(cause).__name__
    if sent:
        return UnknownOutcome(f"no answer came from QuickBooks ({name})")
    return NotSent(f"no connection to QuickBooks ({name}); nothing was sent")


def _before_the_request(failure: object) -> bool:
    """Tell whether what urllib3 met proves that not one byte of the request has left."""
    if isinstance(failure, SSLError):
        # A bad certificate ends the handshake; any other TLS error may come after the request.
        return any(isinstance(arg, ssl.SSLCertVerificationError) for arg in failure.args)
    return isinstance(failure, (NewConnectionError, ConnectTimeoutError, ProxyError))


def _read(raw: urllib3.BaseHTTPResponse, timeouts: Timeouts, deadline: Deadline) -> bytes:
    """Read a body piece by piece, so that an answer that trickles in cannot outlast the deadline."""
    chunks: list[bytes] = []
    while True:
        left = deadline.left
        if left <= 0:
            raise TimeoutError("the answer took too long")
        sock = getattr(raw.connection, "sock", None)
        if sock is not None:
            sock.settimeout(min(timeouts.read, left))
        chunk = raw.read1(_CHUNK, decode_content=True)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
