"""Billing and its admins, as far as they come through the API: they repeat every request until it is answered."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import requests

from messages.catalog import PREFIX
from services.api import keys
from services.cli.chaos.history import Emission
from services.cli.demo.browser import Browser
from services.database import Database

_PATIENCE: Final = 5.0  # seconds for an answer
_REST: Final = 0.2  # seconds between two tries
_RETRIED: Final = 3  # exceptions tried again at once
_TIME: Final = "2026-11-02T12:00:00Z"


class Client:
    """Calls the API at `url` with a key of each tenant. Any thread may use it.

    `repeated` counts requests that were sent again because no answer came, or one that says to try again.
    """

    def __init__(self, url: str, secrets: Mapping[str, str]) -> None:
        self._url = url
        self._secrets = secrets
        self._session = requests.Session()
        self._stopped = threading.Event()
        self.repeated = 0

    @classmethod
    def with_keys(cls, url: str, database: Database, tenants: Mapping[str, object]) -> Client:
        """A client with a new key for each tenant."""
        secrets = {}
        for tenant in tenants:
            with database.transaction(tenant) as connection:
                scopes = (keys.Scope.EVENTS, keys.Scope.MANAGE)
                made = keys.create(
                    connection, tenant, name="billing", scopes=scopes, actor="chaos", per_minute=1_000_000
                )
            secrets[tenant] = made.secret
        return cls(url, secrets)

    def stop(self) -> None:
        """Give up what is being repeated."""
        self._stopped.set()

    def emit(self, emission: Emission) -> int | None:
        """Hand an event in, again and again under its Idempotency-Key until it is acknowledged.

        Returns the number that it was acknowledged with, None when this was stopped before.
        """
        event = {
            "specversion": "1.0",
            "id": str(emission.event_id),
            "source": "//algapsa/billing",
            "type": f"{PREFIX}billing.{emission.type}",
            "subject": emission.subject,
            "time": _TIME,
            "tenantid": emission.tenant,
            "data": emission.data,
        }
        told = self._send(emission.tenant, "POST", "/v1/events", event, key=str(emission.event_id))
        return None if told is None else int(told["data"][0]["sequence"])

    def retry(self, tenant: str) -> int:
        """Try some open exceptions again, as an operator would; returns how many were started."""
        page = self._send(tenant, "GET", f"/v1/exceptions?limit={_RETRIED}")
        ids = [one["exception_id"] for one in page["data"] if one["operation_id"]] if page else []
        if not ids:
            return 0
        body = {"action": "retry", "exception_ids": ids, "reason": "an operator tries it again"}
        told = self._send(tenant, "POST", "/v1/exceptions/bulk", body, key=str(uuid4()))
        return int(told["done"]) if told else 0

    def reconnect(self, tenant: str, realm: str) -> None:
        """Connect a company again in a browser, page by page, from the beginning whenever something fails."""
        while not self._stopped.is_set():
            told = self._send(tenant, "POST", "/v1/quickbooks/connect", {"realm_id": realm})
            if told is None:
                return
            try:
                browser = Browser()
                browser.open(told["connect_url"])
                browser.submit()  # our page
                browser.submit(realm=realm, decision="approve")  # Intuit's, which leads back to us
            except (requests.RequestException, ValueError):
                self.repeated += 1
                self._stopped.wait(_REST)
            else:
                return

    def _send(self, tenant: str, method: str, path: str, body: object = None, *, key: str = "") -> Any:
        """The answer, once there is one; None when stopped. Raises `requests.HTTPError` for a refusal."""
        headers = {"Authorization": f"Bearer {self._secrets[tenant]}"}
        if key:
            headers["Idempotency-Key"] = key
        while not self._stopped.is_set():
            try:
                answer = self._session.request(
                    method, self._url + path, json=body, headers=headers, timeout=_PATIENCE
                )
            except requests.RequestException:
                pass  # it may have been carried out or not: the same key brings the same answer
            else:
                if answer.status_code < 500 and answer.status_code != 429:
                    answer.raise_for_status()
                    return answer.json()
            self.repeated += 1
            self._stopped.wait(_REST)
        return None
