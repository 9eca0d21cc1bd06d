"""A real SMTP server on the loopback that keeps what it takes."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class MailServer:
    """A running server: what it took, in order, and for whom."""

    settings: dict[str, Any]
    got: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Recipients that are refused, and with what."""
    answer: str = "250 OK"
    """What it says to a message; one that it keeps only when this begins with 2."""


@contextmanager
def mail_server(
    after: Callable[[MailServer], None] = lambda _: None,
    *,
    certificate: Path | None = None,
    login: tuple[str, str] | None = None,
) -> Iterator[MailServer]:
    """A server on a free port. `after` runs once a message was taken, before its answer goes out."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = MailServer({"host": "127.0.0.1", "security": "none", "sender": "algasync <books@psa.example>"})

    class Handler:
        async def handle_RCPT(
            self, _: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
        ) -> str:
            if address in server.refused:
                return server.refused[address]
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:
            if server.answer.startswith("2"):
                assert isinstance(envelope.content, bytes)
                mail = message_from_bytes(envelope.content, policy=default)
                assert isinstance(mail, EmailMessage)
                server.got.append(mail)
                server.recipients.append(list(envelope.rcpt_tos))
                after(server)
            return server.answer

    def authenticate(_: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        good = (data.login.decode(), data.password.decode()) == login
        return AuthResult(success=good)

    options: dict[str, Any] = {"tls_context": context, "require_starttls": True} if context else {}
    if login is not None:
        options |= {"authenticator": authenticate, "auth_required": True}
    ready = threading.Event()
    ends: list[Callable[[], object]] = []

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        listening = await loop.create_server(
            lambda: SMTP(Handler(), hostname="localhost", **options), "127.0.0.1", 0
        )
        server.settings["port"] = listening.sockets[0].getsockname()[1]
        ends.append(lambda: loop.call_soon_threadsafe(stop.set))
        ready.set()
        await stop.wait()
        listening.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        ends[0]()
        thread.join(10)
