"""Sending a webhook: the event as it was emitted, signed, answered with 2xx in time or not delivered."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.connections.vault import Vault, VaultError
from services.psa import signature
from services.psa.sending import Parcel, Sent
from services.psa.transport import Answer, NotAnswered, Transport


class WebhookSender:
    """`services.psa.sending.Sender` for a tenant's webhooks."""

    def __init__(self, transport: Transport, vault: Vault) -> None:
        self._transport = transport
        self._vault = vault

    def send(self, parcel: Parcel, still: Callable[[], bool]) -> Sent:
        """Post it. Receivers know a repetition by the ids, so a doubtful one is simply sent again."""
        assert parcel.secret is not None
        body = parcel.body.encode()
        try:
            secret = self._vault.open(parcel.secret)
        except VaultError as error:
            return Sent("again", error=str(error))
        headers = {
            "Content-Type": "application/cloudevents+json",
            "X-Alga-Event-Id": str(parcel.event_id),
            "X-Alga-Delivery-Id": str(parcel.delivery_id),
            "X-Alga-Attempt": str(parcel.attempt),
            signature.HEADER: signature.sign(secret, body, int(time.time())),
        }
        try:
            answer = self._transport.request("POST", parcel.url, headers=headers, body=body)
        except NotAnswered as error:
            return Sent("again", error=str(error))
        reply = answer.body.decode(errors="replace")
        if 200 <= answer.status < 300:
            return Sent("delivered", answer.status, reply=reply)
        return Sent("again", answer.status, why(answer), reply, asked(answer))


def why(answer: Answer) -> str:
    """An answer that is no success, in words."""
    if 300 <= answer.status < 400:
        return f"it answered {answer.status}, and redirects are not followed; subscribe the final address"
    return f"it answered {answer.status}"


def asked(answer: Answer) -> float | None:
    """How many seconds the server asks to wait, when it says so in seconds."""
    given = answer.headers.get("retry-after", "").strip()
    return float(given) if given.isascii() and given.isdigit() and len(given) < 7 else None
