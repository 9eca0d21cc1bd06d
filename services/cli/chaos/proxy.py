"""The network between a process and a server: it can be stalled and cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

_CHUNK: Final = 65536


class Proxy:
    """Forwards TCP connections on loopback to the server of `target`; clients use `url` instead.

    The target may go away and come back at the same address: a connection made meanwhile is closed at once.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        login, _, _ = parts.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def stall(self) -> None:
        """Hold back everything that clients send from now on; what the server sends still arrives."""
        self._flowing.clear()

    def flow(self) -> None:
        """Let everything pass again, what was held back first."""
        self._flowing.set()

    def cut(self) -> None:
        """End all connections, as a lost network would: nobody says goodbye. What was held back is gone."""
        with self._lock:
            ended, self._open = self._open, set()
        for one in ended:
            _end(one)

    def close(self) -> None:
        """End everything."""
        _end(self._listener)
        self.cut()
        self.flow()

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
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for source, target, held in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, target, held), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, held: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if held:
                    self._flowing.wait()
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
