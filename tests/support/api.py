"""The API for tests: served over real HTTP from a thread, called with keys of several tenants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from services.api import Context, keys
from services.api.keys import Scope
from services.api.server import serve
from services.connections.vault import new_key
from services.database import Database, Role
from services.exceptions.attention import ConnectionAttention
from tests.support.deadline import eventually
from tests.support.intuit import Admin, Noted, intuit_of
from tests.support.sandbox import Sandbox

TENANT, OTHER = "tenant-a", "tenant-b"


@dataclass
class Caller:
    """Somebody with an API key, or without one."""

    url: str
    key: str = ""
    tenant: str = ""

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request; `json`, `params`, `headers` as in requests."""
        headers = dict(options.pop("headers", {}))
        if self.key:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        return requests.request(
            method, self.url + path, headers=headers, timeout=20, allow_redirects=False, **options
        )

    def get(self, path: str, **params: Any) -> Any:
        """Read something that must be there."""
        answer = self("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, path: str, body: Any) -> Any:
        """Write something that must be accepted."""
        answer = self("PUT", path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@dataclass
class Served:
    """A running API and its surroundings."""

    url: str
    context: Context
    fleet: Database
    admin: Admin
    callers: dict[tuple[str, ...], Caller] = field(default_factory=dict)

    def caller(self, *scopes: Scope, tenant: str = TENANT) -> Caller:
        """Somebody with a key of the tenant that has these scopes; the same one each time."""
        asked = (tenant, *scopes)
        if asked not in self.callers:
            with self.fleet.transaction(tenant) as connection:
                made = keys.create(connection, tenant, name="test", scopes=scopes, actor="operator")
            self.callers[asked] = Caller(self.url, made.secret, tenant)
        return self.callers[asked]

    @property
    def manager(self) -> Caller:
        """An accounting admin's PSA."""
        return self.caller(Scope.MANAGE)

    @property
    def nobody(self) -> Caller:
        """Somebody without a key."""
        return Caller(self.url)


@pytest.fixture
def served(database_url: str, sandbox: Sandbox, free_port: Callable[[], int]) -> Iterator[Served]:
    """The API over a fresh database, in front of a fresh sandbox."""
    yield from _serving(database_url, sandbox, free_port())


@pytest.fixture(scope="module")
def shared(
    module_database_url: str, _sandbox_process: Sandbox, free_port: Callable[[], int]
) -> Iterator[Served]:
    """The API over a database that the tests of a module share, for requests that change nothing."""
    yield from _serving(module_database_url, _sandbox_process, free_port())


def _serving(database_url: str, sandbox: Sandbox, port: int) -> Iterator[Served]:
    url = f"http://127.0.0.1:{port}"
    intuit = intuit_of(
        sandbox, key=new_key(), redirect_uri=f"{url}/v1/quickbooks/callback", api_port=port, public_url=url
    )
    stop = threading.Event()
    with Database(database_url, Role.API, pool_size=8) as api, Database(database_url, Role.FLEET) as fleet:
        context = Context(api, intuit, ConnectionAttention())
        thread = threading.Thread(target=serve, args=(context, stop), daemon=True)
        thread.start()
        eventually(lambda: _answers(url), 30)
        yield Served(url, context, fleet, Admin(api, intuit, Noted()))
        stop.set()
        thread.join(15)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=1).ok
    except requests.RequestException:
        return False
