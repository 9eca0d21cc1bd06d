"""Notices by mail: one message a recipient, under a Message-ID that stays the same however often it is sent.

SMTP has no way to ask whether a message arrived, so one whose answer was lost is sent again; mail programs show what
has the same Message-ID once (https://www.rfc-editor.org/rfc/rfc5322#section-3.6.4).
"""

from __future__ import annotations

import os
import smtplib
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from functools import lru_cache
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class MailSettings(BaseSettings):
    """The operator's mail server, from the environment."""

    model_config = SettingsConfigDict(env_prefix="ALGASYNC_SMTP_", extra="ignore")

    host: str = Field(default="", description="Mail server; without one, notices are not mailed.")
    port: int = Field(default=0, ge=0, le=65535, description="Default: 587, or 465 with tls.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="none only for a server on this machine or network."
    )
    username: str = ""
    password: SecretStr = SecretStr("")
    sender: str = Field(default="", description="From whom, like algasync <accounting@psa.example>.")
    ca_file: str = Field(default="", description="Certificates to trust besides the system's.")
    seconds: float = Field(default=20.0, gt=0, le=60, description="For each answer of the server.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.host and "@" not in parseaddr(self.sender)[1]:
            raise ValueError(
                "ALGASYNC_SMTP_SENDER must name an address, like algasync <accounting@psa.example>"
            )
        if self.username and self.security == "none":
            raise ValueError(
                "ALGASYNC_SMTP_SECURITY=none would send the password in clear; use starttls or tls"
            )
        return self


@lru_cache(maxsize=1)
def mail_settings() -> MailSettings:
    """The settings of this process, read at first use; from files too where ALGASYNC_SECRETS_DIR is set."""
    return MailSettings(_secrets_dir=os.environ.get("ALGASYNC_SECRETS_DIR") or None)


class NotMailed(Exception):
    """The server did not take the message; `status` is its code, when it answered."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


def message(
    settings: MailSettings, delivery_id: UUID, recipient: str, notice: Mapping[str, Any], at: datetime
) -> EmailMessage:
    """The mail of a notice; the same arguments make the same mail."""
    made = EmailMessage(policy=SMTP)
    made["From"] = settings.sender
    made["To"] = recipient
    made["Subject"] = " ".join(str(notice["title"]).split())  # a header is one line
    made["Date"] = format_datetime(at.astimezone(UTC))
    made["Message-ID"] = f"<{delivery_id}@{parseaddr(settings.sender)[1].rpartition('@')[2]}>"
    made["Auto-Submitted"] = (
        "auto-generated"  # https://www.rfc-editor.org/rfc/rfc3834: nobody's absence answers it
    )
    made.set_content(f"{notice['message']}\n")
    return made


def send(settings: MailSettings, mail: EmailMessage) -> str:
    """Hand a mail to the server and return what it said. Raises `NotMailed`."""
    if not settings.host:
        raise NotMailed("no mail server is set (ALGASYNC_SMTP_HOST)")
    try:
        server = _connected(settings)
        try:
            if settings.username:
                server.login(settings.username, settings.password.get_secret_value())
            server.send_message(mail)
            with suppress(smtplib.SMTPException, OSError):
                server.quit()  # the message is taken by now, whatever comes of saying goodbye
        finally:
            server.close()
    except smtplib.SMTPResponseException as refused:
        raise NotMailed(f"the mail server answered {refused.smtp_code}", refused.smtp_code) from refused
    except smtplib.SMTPRecipientsRefused as refused:
        code = next(iter(refused.recipients.values()))[0]
        raise NotMailed(f"the mail server refuses this recipient with {code}", code) from refused
    except (OSError, smtplib.SMTPException) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise NotMailed(f"no mail server at {settings.host}: {said}") from error
    return "taken by the mail server"


def _connected(settings: MailSettings) -> smtplib.SMTP:
    tls = ssl.create_default_context()
    if settings.ca_file:
        tls.load_verify_locations(settings.ca_file)
    if settings.security == "tls":
        return smtplib.SMTP_SSL(settings.host, settings.port or 465, timeout=settings.seconds, context=tls)
    server = smtplib.SMTP(settings.host, settings.port or 587, timeout=settings.seconds)
    if settings.security == "starttls":
        try:
            server.starttls(context=tls)
        except BaseException:
            server.close()
            raise
    return server
