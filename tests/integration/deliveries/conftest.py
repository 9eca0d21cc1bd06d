"""Fixtures of the tests of what leaves us: a receiver, a webhook to it, and somebody who works lanes off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from services.connections.vault import Vault, new_key
from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from services.exceptions.notice_mail import MailSettings
from services.psa import deliveries, lanes, subscriptions
from services.psa.addresses import Outgoing
from services.psa.deliveries import Delivery
from services.psa.notifier import Notifier
from services.psa.senders import senders
from services.psa.subscriptions import Subscription
from tests.integration.workers.harness import amqp
from tests.support.receiver import LOOPBACK, Receiver, receiver

__all__ = ["amqp"]

TENANT = "tenant-a"


@pytest.fixture
def fleet(database_url: str) -> Iterator[Database]:
    """The workers' access, over all tenants."""
    with Database(database_url, Role.FLEET, pool_size=12) as database:
        yield database


@pytest.fixture
def api(database_url: str) -> Iterator[Database]:
    """The API's access, one tenant at a time."""
    with Database(database_url, Role.API) as database:
        yield database


@pytest.fixture(scope="session")
def key() -> str:
    """The secret key of the tests."""
    return new_key()


@pytest.fixture
def vault(key: str) -> Vault:
    """What secrets are kept in."""
    return Vault([key])


@pytest.fixture
def outgoing() -> Outgoing:
    """An operator who lets webhooks reach this machine."""
    return Outgoing(networks=[LOOPBACK], seconds=5)


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiver() as running:
        yield running


@pytest.fixture
def other_endpoint() -> Iterator[Receiver]:
    """Another receiver."""
    with receiver() as running:
        yield running


@dataclass
class Desk:
    """A tenant's destinations, and a worker that serves them when told to."""

    fleet: Database
    api: Database
    vault: Vault
    outgoing: Outgoing
    notifier: Notifier

    def webhook(self, url: str, *types: str, per_minute: int = 6000, name: str = "psa") -> tuple[UUID, str]:
        """Subscribe an address; returns the subscription's id and its secret."""
        with self.api.transaction(TENANT) as connection:
            made = subscriptions.create_webhook(
                connection,
                self.vault,
                self.outgoing,
                TENANT,
                name=name,
                url=url,
                event_types=types or ["*"],
                per_minute=per_minute,
                actor="admin",
            )
        return made.subscription.subscription_id, made.secret

    def subscription(self, subscription_id: UUID) -> Subscription:
        """A destination as it is now."""
        with self.api.transaction(TENANT) as connection:
            return subscriptions.get(connection, TENANT, subscription_id)

    def log(self, subscription_id: UUID, state: str | None = None) -> list[Delivery]:
        """Its deliveries, oldest first."""
        with self.api.transaction(TENANT) as connection:
            found = deliveries.page(connection, TENANT, subscription_id, state=state, limit=1000)
        return found.deliveries[::-1]

    def due(self) -> list[UUID]:
        """Lanes to which a command would be sent now."""
        with self.fleet.transaction(ALL_TENANTS) as connection:
            return [subscription_id for subscription_id, _ in lanes.due(connection)]

    def work(self) -> int:
        """Work off whatever is due, until nothing is; returns how many attempts were made."""
        made = 0
        while found := self.due():
            made += sum(self.notifier.run(one) for one in found)
        return made

    def pass_time(self, span: timedelta) -> None:
        """Let time go by for everything that waits."""
        moves = {
            "subscription": "rest_until failing_since last_success_at lease_until dispatched_until",
            "delivery": "due_at first_attempt_at created_at",
        }
        with Database(self.fleet.url, Role.OWNER) as owner, owner.transaction(TENANT) as connection:
            for table, columns in moves.items():
                sets = ", ".join(f"{column} = {column} - :span" for column in columns.split())
                connection.execute(text(f"UPDATE {table} SET {sets}"), {"span": span})

    def exceptions(self, type_: str) -> list[Any]:
        """Exceptions of a type."""
        with self.fleet.transaction(TENANT) as connection:
            query = "SELECT * FROM exception WHERE type = :type ORDER BY created_at"
            return list(connection.execute(text(query), {"type": type_}))


@pytest.fixture
def mail() -> MailSettings:
    """No mail server."""
    return MailSettings(host="")


@pytest.fixture
def make_desk(
    fleet: Database, api: Database, vault: Vault, outgoing: Outgoing, mail: MailSettings
) -> Iterator[Callable[..., Desk]]:
    """A function that makes a desk, with other options of its notifier where given."""
    made: list[Notifier] = []

    def make(**options: Any) -> Desk:
        notifier = Notifier(fleet, senders(vault, outgoing, mail), **options)
        made.append(notifier)
        return Desk(fleet, api, vault, outgoing, notifier)

    yield make
    for notifier in made:
        notifier.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    """A desk."""
    return make_desk()
