"""Sending a notice by mail, as a lane does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from services.exceptions import notice_mail
from services.exceptions.notice_mail import MailSettings, NotMailed
from services.psa.sending import Parcel, Sent


class MailSender:
    """`services.psa.sending.Sender` for notices."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings

    def send(self, parcel: Parcel, still: Callable[[], bool]) -> Sent:
        """Hand it to the mail server; the delivery's id makes the Message-ID."""
        event = json.loads(parcel.body)
        at = datetime.fromisoformat(event["time"])
        mail = notice_mail.message(self._settings, parcel.delivery_id, parcel.recipient, event["data"], at)
        try:
            reply = notice_mail.send(self._settings, mail)
        except NotMailed as error:
            return Sent("again", error.status, str(error))
        return Sent("delivered", 250, reply=reply)
