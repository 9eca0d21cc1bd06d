"""Notifications to the apps: both formats, signature, order, and Intuit's schedule of retries.

https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks - undelivered notices do not survive a
restart: Intuit does not guarantee delivery either.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import requests

from services.sandbox.amounts import encode
from services.sandbox.clock import Clock, utc_stamp
from services.sandbox.entities import ENTITIES
from services.sandbox.settings import App
from services.sandbox.store import Change, Company, Mark, Operation
from services.sandbox.troubles import Occasion, Troubles

MAX_EVENTS = 100
ANSWER_SECONDS = 3.0
HOUR = 3600.0
RETRY_SECONDS = (10.0, 20.0, 30.0, 300.0, 1200.0, 2 * HOUR, 4 * HOUR, 6 * HOUR)  # then every six hours
WEBHOOK = "webhook"  # the name of these notices in troubles
KEPT_ATTEMPTS = 1000
_VERBS: dict[Operation, str] = {
    "Create": "created",
    "Update": "updated",
    "Delete": "deleted",
    "Void": "voided",
    "Merge": "merged",
    "Emailed": "emailed",
}


class Event(NamedTuple):
    """One change to announce."""

    id: str
    realm: str
    entity: str
    key: str
    operation: Operation
    at: float
    deleted: str  # the id that a merge swallowed
    garbled: bool = False  # sent without saying what it is about


class Attempt(NamedTuple):
    """One POST to an app's endpoint; `status` 0 means no answer in time."""

    at: float
    client_id: str
    events: list[str]
    status: int


@dataclass(slots=True)
class Mailbox:
    """What one app still has to hear, in order; nothing overtakes a notice that was not acknowledged."""

    waiting: deque[Event] = field(default_factory=deque)
    held: int = 0  # events of the post that was not acknowledged: it is repeated as it was
    failures: int = 0
    due: float = 0.0


class Webhooks:
    """The mailboxes of all apps and the task that empties them."""

    def __init__(
        self, clock: Clock, apps_of: Callable[[str], list[App]], troubles: Callable[[], Troubles]
    ) -> None:
        self._clock = clock
        self._apps_of = apps_of
        self._troubles = troubles
        self._apps: dict[str, App] = {}
        self._wake = asyncio.Event()
        self.mailboxes: dict[str, Mailbox] = {}
        self.attempts: deque[Attempt] = deque(maxlen=KEPT_ATTEMPTS)

    def announce(self, company: Company, changes: list[Change], _marks: list[Mark]) -> None:
        """Queue a commit's changes for every app that is connected to the company and has an endpoint."""
        apps = self._apps_of(company.realm)
        if not apps:
            return
        for change in changes:
            if change.operation == "Relabel" or not ENTITIES[change.entity].in_webhooks:
                continue
            occasion = Occasion(company.realm, "POST", WEBHOOK, change.operation, change.entity)
            kinds = [trouble.kind for trouble in self._troubles().firing(occasion)]
            merged = change.operation == "Merge"
            key = change.merged_into if merged else change.id
            event = Event(
                str(uuid.uuid4()),
                company.realm,
                change.entity,
                key,
                change.operation,
                change.at,
                change.id if merged else "",
                "garble" in kinds,
            )
            for app in apps if "lose" not in kinds else []:
                self._apps[app.client_id] = app
                mailbox = self.mailboxes.setdefault(app.client_id, Mailbox())
                mailbox.waiting.extend([event] * (2 if "double" in kinds else 1))
        self.wake()

    def wake(self) -> None:
        """Look again at what is due: there is news, or the clock was moved."""
        self._wake.set()

    def clear(self) -> None:
        """Forget everything that waits."""
        self.mailboxes.clear()
        self.attempts.clear()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.now()
            for client_id, mailbox in list(self.mailboxes.items()):
                if mailbox.waiting and mailbox.due <= now:
                    await self._deliver(self._apps[client_id], mailbox)
            now = self._clock.now()
            waits = [max(0.0, box.due - now) for box in self.mailboxes.values() if box.waiting]
            if not self._wake.is_set():
                try:
                    await asyncio.wait_for(self._wake.wait(), min(waits) if waits else None)
                except TimeoutError:
                    continue

    async def _deliver(self, app: App, mailbox: Mailbox) -> None:
        size = mailbox.held or min(MAX_EVENTS, len(mailbox.waiting))
        batch = [mailbox.waiting[row] for row in range(size)]
        body, headers = message(app, batch)
        try:
            answer = await asyncio.to_thread(
                requests.post,
                app.webhook_url,
                data=body,
                headers=headers,
                timeout=ANSWER_SECONDS,
                allow_redirects=False,
            )
            status = answer.status_code
        except requests.RequestException:
            status = 0
        self.attempts.append(Attempt(self._clock.now(), app.client_id, [event.id for event in batch], status))
        if status == 200:
            for _ in batch:
                mailbox.waiting.popleft()
            mailbox.held, mailbox.failures, mailbox.due = 0, 0, 0.0
        else:
            mailbox.held = size
            wait = RETRY_SECONDS[min(mailbox.failures, len(RETRY_SECONDS) - 1)]
            mailbox.failures += 1
            mailbox.due = self._clock.now() + wait


def message(app: App, events: list[Event]) -> tuple[bytes, dict[str, str]]:
    """The body in the app's format and its headers; `intuit-signature` is the HMAC-SHA256 of the body, base64."""
    if app.webhook_format == "legacy":
        body, content_type = encode(_legacy(events)), "application/json"
    else:
        body, content_type = (
            encode([_cloud_event(app, event) for event in events]),
            "application/cloudevents+json",
        )
    digest = hmac.new(app.verifier_token.encode(), body, hashlib.sha256).digest()
    return body, {"content-type": content_type, "intuit-signature": base64.b64encode(digest).decode()}


def _cloud_event(app: App, event: Event) -> dict[str, Any]:
    moment = datetime.fromtimestamp(event.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    if event.garbled:
        return {"specversion": "1.0", "id": event.id, "intuitaccountid": event.realm}
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": "intuit." + base64.b64encode(app.client_id.encode()).decode(),
        "type": f"qbo.{event.entity.lower()}.{_VERBS[event.operation]}.v1",
        "datacontenttype": "application/json",
        "time": f"{moment}000Z",  # nanoseconds, as Intuit sends them
        "intuitentityid": event.key,
        "intuitaccountid": event.realm,
        "data": {"deletedid": event.deleted} if event.deleted else {},
    }


def _legacy(events: list[Event]) -> dict[str, Any]:
    by_realm: dict[str, list[dict[str, str]]] = {}
    for event in events:
        row = {
            "id": event.key,
            "operation": event.operation,
            "name": event.entity,
            "lastUpdated": utc_stamp(event.at),
        }
        if event.deleted:
            row["deletedId"] = event.deleted
        if event.garbled:
            del row["id"], row["name"]
        by_realm.setdefault(event.realm, []).append(row)
    return {
        "eventNotifications": [
            {"realmId": realm, "dataChangeEvent": {"entities": rows}} for realm, rows in by_realm.items()
        ]
    }
