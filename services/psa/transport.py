"""One HTTP request to somebody else's server: to a judged address, no redirects, and over when its time is.

The time is for all of it. A server that sends a byte now and then keeps every single read alive, so a timeout a read
bounds nothing: a timer shuts the socket.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from services.psa.addresses import AddressRefused, Outgoing, Resolve, permitted

CONNECT_SECONDS: Final = 5.0
AGENT: Final = f"algasync/{version('algasync')}"


class NotAnswered(Exception):
    """No usable answer. `sent` says whether the server may have got the request all the same."""

    def __init__(self, sentence: str, *, sent: bool) -> None:
        super().__init__(sentence)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. `body` is cut at the limit of the request; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Makes requests. Safe to use from several threads; each request has a connection of its own."""

    def __init__(self, settings: Outgoing, *, resolve: Resolve | None = None) -> None:
        self._settings = settings
        self._resolve = resolve
        self._tls = ssl.create_default_context()
        if settings.ca_file:
            self._tls.load_verify_locations(settings.ca_file)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        limit: int = 4096,
    ) -> Answer:
        """Send a request and read at most `limit` bytes of the answer's body. Raises `NotAnswered`."""
        deadline = time.monotonic() + self._settings.seconds
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        try:
            addresses = permitted(host, port, parts.scheme, self._settings, resolve=self._resolve)
        except AddressRefused as refused:
            raise NotAnswered(str(refused), sent=False) from refused
        connection = _Pinned(host, port, addresses, deadline, self._tls if secure else None)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = False
        with _Watch(connection, deadline) as watch:
            try:
                connection.connect()
                sent = True
                connection.request(method, target, body, {"User-Agent": AGENT, **headers})
                response = connection.getresponse()
                found = response.read(limit)
                if watch.expired:
                    raise TimeoutError
            except (OSError, http.client.HTTPException) as error:
                raise NotAnswered(self._why(error, host, watch.expired), sent=sent) from error
            finally:
                connection.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, found)

    def _why(self, error: Exception, host: str, expired: bool) -> str:
        if expired or isinstance(error, TimeoutError):
            return f"{host} did not answer within {self._settings.seconds:g} s"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the certificate of {host} is not accepted: {error.verify_message}"
        if isinstance(error, ssl.SSLError):
            return f"no secure connection to {host}: {error.reason or 'the handshake failed'}"
        if isinstance(error, OSError):
            return f"the connection to {host} failed: {error.strerror or type(error).__name__}"
        return f"{host} did not answer in HTTP ({type(error).__name__})"


class _Pinned(http.client.HTTPConnection):
    """A connection to given addresses of a host, whatever its name leads to by now."""

    def __init__(
        self, host: str, port: int, addresses: Sequence[str], deadline: float, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(host, port)
        self._addresses = addresses
        self._deadline = deadline
        self._tls = tls
        if tls is not None:
            self.default_port = 443  # so that the Host header names the port only when it is another one

    def connect(self) -> None:
        """Connect to the first address that answers."""
        plain = self._first()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(self._left())
        self.sock = plain
        if self._tls is not None:
            # The handshake comes after the socket is known here, so that the watch can end it.
            secured = self._tls.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = secured
            secured.do_handshake()

    def abort(self) -> None:
        """End whatever is under way, from another thread."""
        if isinstance(self.sock, socket.socket):
            try:
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # under TLS, whose own would take locks
            except OSError:
                return  # it is closed already

    def _first(self) -> socket.socket:
        failed: OSError = TimeoutError()
        for address in self._addresses:
            try:
                return socket.create_connection((address, self.port), min(CONNECT_SECONDS, self._left()))
            except OSError as error:
                failed = error
        raise failed

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Watch:
    """Ends a request when its time is over; `expired` says that it did."""

    def __init__(self, connection: _Pinned, deadline: float) -> None:
        self.expired = False
        self._connection = connection
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self.expired = True
        self._connection.abort()

    def __enter__(self) -> _Watch:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
