"""A TCP proxy in front of a server: the network that a test may cut."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Final
from urllib.parse import urlsplit, urlunsplit

_CHUNK: Final = 65536


class Proxy:
    """Forwards connections to the server of `url`; `url` of the proxy itself is what clients get."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5672)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._refusing = False
        self.accepted = 0
        port = self._listener.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"))
        self._running = True
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End all connections, as a lost network would: nobody says goodbye."""
        with self._lock:
            for peer in list(self._peers):
                self._drop(peer)

    def refuse(self, refusing: bool = True) -> None:
        """Let no new connection through (those that exist stay), or let them through again."""
        self._refusing = refusing

    def close(self) -> None:
        """End everything."""
        self._running = False
        self._thread.join()
        self.cut()
        self._selector.close()
        self._listener.close()

    def _forward(self) -> None:
        while self._running:
            for key, _ in self._selector.select(timeout=0.05):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._pump(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._refusing:
            client.close()
            return
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self.accepted += 1
        with self._lock:
            for one, other in ((client, server), (server, client)):
                self._peers[one] = other
                self._selector.register(one, selectors.EVENT_READ)

    def _pump(self, source: socket.socket) -> None:
        with self._lock:
            target = self._peers.get(source)
            if target is None:
                return
            try:
                data = source.recv(_CHUNK)
                if data:
                    target.sendall(data)
                    return
            except OSError:
                pass
            self._drop(source)

    def _drop(self, one: socket.socket) -> None:
        other = self._peers.pop(one, None)
        for end in (one, other):
            if end is not None:
                self._peers.pop(end, None)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(end)
                end.close()
