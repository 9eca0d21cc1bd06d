"""The network between a process and a server: it can be stalled and cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

_CHUNK: Final = 65536
_AMQP_PORT: Final = 5672  # a broker's address may leave it out


class Proxy:
    """Forwards TCP connections on loopback to the server of `target`; clients use `url` instead.

    The target may go away and come back at the same address: a connection made meanwhile is closed at once.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        self._target = (parts.hostname, parts.port or _AMQP_PORT)
        self._listener = socket.create_server(("127.0.0.1", 0))
        login, at, _ = parts.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{port}"))
        self._requests, self._answers = threading.Event(), threading.Event()  # set while they pass
        self.flow()
        self.held = 0
        """How often something that was sent has had to wait."""
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def stall(self, *, answers: bool = False) -> None:
        """Hold back everything that clients send from now on, and with `answers` what the server sends, too."""
        self._requests.clear()
        if answers:
            self._answers.clear()

    def flow(self) -> None:
        """Let everything pass again, what was held back first."""
        self._requests.set()
        self._answers.set()

    def cut(self) -> int:
        """End all connections, as a lost network would: nobody says goodbye. What was held back is gone.

        Returns how many they were.
        """
        with self._lock:
            ended, self._open = self._open, set()
        for one in ended:
            _end(one)
        return len(ended) // 2

    def close(self) -> None:
        """End everything."""
        _end(self._listener)
        self.cut()
        self.flow()

    def reach(self) -> socket.socket:
        """A new connection to the server. Raises `OSError` when it is not there."""
        return socket.create_connection(self._target, timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = self.reach()
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for source, target, passing in (
                (client, server, self._requests),
                (server, client, self._answers),
            ):
                threading.Thread(target=self._pump, args=(source, target, passing), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, passing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if not passing.is_set():
                    self.held += 1
                    passing.wait()
                target.sendall(data)
        with self._lock:
            self._open -= {source, target}
        _end(source)
        _end(target)


def _end(one: socket.socket) -> None:
    """Close a socket that another thread may be waiting on."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
