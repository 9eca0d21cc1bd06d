"""A network that a test may close to newcomers, besides cutting and stalling it."""

from __future__ import annotations

import socket

from services.cli.chaos.proxy import Proxy


class Door(Proxy):
    """A proxy that can be told to let no new connection through; those that exist stay."""

    _shut = False

    def refuse(self, refusing: bool = True) -> None:
        """Let nobody in, or let them in again."""
        self._shut = refusing

    def reach(self) -> socket.socket:
        """The server, unless the door is shut."""
        if self._shut:
            raise ConnectionRefusedError
        return super().reach()
