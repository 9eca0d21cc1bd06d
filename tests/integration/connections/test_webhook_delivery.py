"""Intuit's notices on their whole way: over HTTP to our own process, on Intuit's schedule, in both formats.

Source: https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from sqlalchemy import text

from services.connections import webhooks
from services.database import Database
from services.inbound import asking, customers, schedule
from tests.support.deadline import eventually
from tests.support.inbound import InboundBench
from tests.support.installation import Installation, hears
from tests.support.intuit import GB, US, Admin, Noted, intuit_of, trouble
from tests.support.sandbox import Sandbox

FORMS = ("cloudevents", "legacy")


def attempts(sandbox: Sandbox) -> list[dict[str, Any]]:
    """What Intuit tried so far: when, which events, and the status of the answer (0: none)."""
    found: list[dict[str, Any]] = requests.get(f"{sandbox.control}/webhooks", timeout=10).json()["attempts"]
    return found


def statuses(sandbox: Sandbox) -> list[int]:
    """How the attempts ended."""
    return [attempt["status"] for attempt in attempts(sandbox)]


def later(sandbox: Sandbox, seconds: float) -> None:
    """Let Intuit's time pass."""
    requests.post(f"{sandbox.control}/clock", json={"seconds": seconds}, timeout=10).raise_for_status()


def arrives(sandbox: Sandbox) -> bool:
    """Whether the last attempt was taken; a busy machine may be too slow for one, and Intuit comes again."""
    found = statuses(sandbox)
    if len(found) > 2 and found[-1] == 0:
        later(sandbox, 300)
    return found[-1] == 200


def waiting(sandbox: Sandbox) -> dict[str, list[Any]]:
    """What each app has not acknowledged yet."""
    found: dict[str, list[Any]] = requests.get(f"{sandbox.control}/webhooks", timeout=10).json()["waiting"]
    return found


def books(sandbox: Sandbox, realm: str, action: str, **facts: Any) -> None:
    """A bookkeeper does something in a company."""
    address = f"{sandbox.control}/companies/{realm}/bookkeeper/{action}"
    requests.post(address, json=facts, timeout=10).raise_for_status()


def connected(installation: Installation, sandbox: Sandbox, api: Database, fleet: Database) -> None:
    """Two tenants with a company each, whose next poll is an hour away."""
    intuit = intuit_of(
        sandbox,
        key=installation.settings["ALGASYNC_SECRET_KEYS"],
        redirect_uri=f"{installation.url}/v1/quickbooks/callback",
    )
    admin = Admin(api, intuit, Noted())
    admin.connected("tenant-a", US)
    admin.connected("tenant-b", GB)
    with fleet.transaction("*") as connection:
        schedule.open_due(connection)
        connection.execute(text("UPDATE change_feed SET due_at = clock_timestamp() + interval '1 hour'"))


def woken(fleet: Database) -> set[str]:
    """Realms whose changes are read now because Intuit called."""
    found = """SELECT c.realm_id FROM change_feed f JOIN company c USING (company_id)
                WHERE f.due_at <= clock_timestamp() AND f.cause = 'webhook'"""
    with fleet.transaction("*") as connection:
        return set(connection.execute(text(found)).scalars())


@pytest.mark.parametrize("form", FORMS)
def test_notices_outlast_an_api_that_is_down(
    form: str, installation: Installation, sandbox: Sandbox, api: Database, fleet: Database
) -> None:
    """Nobody listens for two attempts; later events wait behind the first and arrive after it, in one post.

    That post speaks of two tenants' companies and one of its events cannot be read: it is taken, and both are woken.
    """
    connected(installation, sandbox, api, fleet)
    hears(installation, sandbox, form)
    books(sandbox, US, "create", entity="Customer", body={"DisplayName": "Blue Summit Dental"})
    eventually(lambda: statuses(sandbox) == [0])
    trouble(sandbox, "garble", entity="webhook", times=1)
    books(sandbox, US, "create", entity="Customer", body={"DisplayName": "Harbor Logistics"})
    books(sandbox, GB, "create", entity="Customer", body={"DisplayName": "Cedar Roofing"})
    later(sandbox, 10)
    eventually(lambda: statuses(sandbox) == [0, 0])
    assert woken(fleet) == set()
    installation.start()
    later(sandbox, 20)
    eventually(lambda: arrives(sandbox) and not any(waiting(sandbox).values()), 60)
    first, second = attempts(sandbox)[:2]
    taken = [attempt for attempt in attempts(sandbox) if attempt["status"] == 200]
    assert [len(attempt["events"]) for attempt in taken] == [1, 2]
    assert taken[0]["events"] == first["events"]
    assert (second["at"] - first["at"] >= 10, taken[0]["at"] - second["at"] >= 20) == (True, True)
    assert woken(fleet) == {US, GB}
    counted = requests.get(f"{installation.url}/metrics", timeout=10).text
    assert 'algasync_webhook_events_total{outcome="new"} 2.0' in counted
    assert 'algasync_webhook_events_total{outcome="unreadable"} 0.0' not in counted
    assert list(waiting(sandbox).values()) == [[]]


def merge(form: str, company: str, loser: str, survivor: str) -> bytes:
    """What Intuit posts when a bookkeeper merged two customers."""
    if form == "cloudevents":
        event = {
            "specversion": "1.0",
            "id": "88cd52aa-33b6-4351-9aa4-47572edbd068",
            "source": "intuit.fake",
            "type": "qbo.customer.merged.v1",
            "time": "2026-03-31T12:00:00.123456789Z",
            "intuitentityid": survivor,
            "intuitaccountid": company,
            "data": {"deletedid": loser},
        }
        return json.dumps([event]).encode()
    row = {"id": survivor, "operation": "Merge", "name": "Customer", "deletedId": loser}
    changed = {"entities": [row | {"lastUpdated": "2026-03-31T12:00:00.000Z"}]}
    return json.dumps({"eventNotifications": [{"realmId": company, "dataChangeEvent": changed}]}).encode()


def tell(bench: InboundBench, api: Database, raw: bytes) -> webhooks.Taken:
    """The API takes a post."""
    return webhooks.take(api, "sandbox", raw, polled=asking.ENTITIES, wake=schedule.wake)


def hand_over(bench: InboundBench) -> int:
    """The scheduler's job comes by."""
    with bench.fleet.transaction("*") as connection:
        return webhooks.file_merges(connection, customers.merged)


@pytest.mark.parametrize("form", FORMS)
def test_a_merge_takes_the_client_to_the_survivor(form: str, bench: InboundBench, api: Database) -> None:
    """A customer without any document vanished: only the webhook says into which one, and the link follows it."""
    bench.bookkeeper("merge-customers", loser="2", survivor="3")
    assert tell(bench, api, merge(form, bench.company.realm_id, "2", "3")).new == 1
    assert hand_over(bench) == 1
    bench.settle()
    assert bench.one("SELECT external_id FROM mapping WHERE kind = 'customer' AND key = 'cl-1'") == "3"
    assert bench.exceptions() == []
    assert (hand_over(bench), tell(bench, api, merge(form, bench.company.realm_id, "2", "3")).new) == (0, 0)


def test_a_merge_told_late_mends_what_was_judged(bench: InboundBench, api: Database) -> None:
    """The feed showed that the customer was gone, so a person was asked; the webhook comes, and nobody needs to be."""
    bench.bookkeeper("merge-customers", loser="2", survivor="3")
    bench.poll()
    assert bench.codes() == ["deleted"]
    tell(bench, api, merge("cloudevents", bench.company.realm_id, "2", "3"))
    assert hand_over(bench) == 1
    bench.settle()
    assert bench.one("SELECT external_id FROM mapping WHERE kind = 'customer' AND key = 'cl-1'") == "3"
    assert bench.exceptions() == []


def test_the_other_environment_is_nobody(bench: InboundBench, api: Database) -> None:
    """A company of the sandbox is not woken by what Intuit's production says of the same realm: the two never mix."""
    raw = merge("cloudevents", bench.company.realm_id, "2", "3")
    taken = webhooks.take(api, "production", raw, polled=asking.ENTITIES, wake=schedule.wake)
    assert (taken.new, taken.unknown) == (0, 1)


def test_a_merge_with_ids_that_cannot_be_is_left(bench: InboundBench, api: Database) -> None:
    """Ids that PostgreSQL cannot hold never were QuickBooks': the event is counted, and the post is not refused."""
    assert tell(bench, api, merge("cloudevents", bench.company.realm_id, "2\x00", "3")).new == 1
    assert hand_over(bench) == 0
