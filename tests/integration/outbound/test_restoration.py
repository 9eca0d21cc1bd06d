"""A backup is restored: QuickBooks has what the ledger forgot, and nothing of it is entered twice."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from services.inbound import restoration
from services.ledger import pauses
from services.refusals import Refusal
from tests.support.exporting import TENANT, Workbench, applied, credit_note, payment

Backup = Callable[[], str]
Restore = Callable[[str], Workbench]


@pytest.fixture
def backup(workbench: Workbench, postgresql_url: str) -> Iterator[Backup]:
    """A function that copies the database as it is now; returns the copy's URL."""
    made: list[str] = []

    def administer(statement: str, *names: str) -> None:
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def copy() -> str:
        workbench.fleet.close()
        source, name = urlsplit(workbench.fleet.url).path.strip("/"), f"restored_{secrets.token_hex(6)}"
        administer("CREATE DATABASE {} TEMPLATE {}", name, source)
        made.append(name)
        return urlunsplit(urlsplit(workbench.fleet.url)._replace(path=f"/{name}"))

    yield copy
    for name in made:
        administer("DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def restore(workbench: Workbench) -> Iterator[Restore]:
    """A function that gives a workbench on a copied database, with the same QuickBooks."""
    opened: list[Database] = []

    def open_copy(url: str) -> Workbench:
        database = Database(url, Role.FLEET, pool_size=5)
        opened.append(database)
        return Workbench(database, workbench.sandbox, workbench.clients, workbench.company_id)

    yield open_copy
    for database in opened:
        database.close()


def begin(bench: Workbench, moment: datetime) -> list[restoration.Restored]:
    """What `algasync recover --after-restore` does, and the resume that follows."""
    with bench.fleet.transaction(ALL_TENANTS) as connection:
        done = restoration.begin(
            connection, moment, look=timedelta(days=7), actor="operator", reason="restored"
        )
    with bench.fleet.transaction(ALL_TENANTS) as connection:
        pauses.resume(connection, "fleet", actor="operator")
    return done


def test_what_was_exported_since_the_backup_is_found_again(
    workbench: Workbench, backup: Backup, restore: Restore
) -> None:
    """Invoices, credit memos, their applications and payments of the lost day: linked again, none entered twice.

    Intuit has forgotten every request id meanwhile, so only looking helps. What was waiting when the backup was made
    and left afterwards is found as well.
    """
    workbench.bill("inv-before")
    workbench.settle()
    workbench.bill("inv-queued")
    url, moment = backup(), datetime.now(UTC)
    workbench.settle()
    bodies = [workbench.bill("inv-lost"), workbench.bill("inv-paid")]
    workbench.settle()
    bodies += [
        workbench.say("credit_note.finalized", credit_note("cm-lost")),
        workbench.say("credit.applied", applied("app-lost", "cm-lost", "inv-lost", 3000)),
        workbench.say("payment.recorded", payment("pay-lost", ("inv-paid", 13500))),
    ]
    entities = ("Invoice", "CreditMemo", "Payment")
    there = {entity: sorted(one["Id"] for one in workbench.objects(entity)) for entity in entities}
    assert all(there.values())
    workbench.switch(requestid_forgets_after_seconds=60)
    workbench.advance(120)

    restored = restore(url)
    (told,) = begin(restored, moment)
    assert told.tenant_id == TENANT
    for body in bodies:
        restored.intake.take_over(body)
    restored.settle()

    assert {entity: sorted(one["Id"] for one in restored.objects(entity)) for entity in entities} == there
    documents = [
        *(("invoice", one) for one in ("inv-before", "inv-queued", "inv-lost", "inv-paid")),
        ("credit_note", "cm-lost"),
        ("credit_application", "app-lost"),
        ("payment", "pay-lost"),
    ]
    links = [restored.link(*one) for one in documents]
    assert [link.state if link else None for link in links] == ["synced"] * len(documents)
    assert len({(link.external_type, link.external_id) for link in links if link}) == len(documents)
    assert "adopted" in restored.timeline("invoice", "inv-lost")
    assert restored.codes() == []


def test_new_documents_are_created_as_ever(workbench: Workbench, backup: Backup, restore: Restore) -> None:
    """Looking finds nothing for what is new: it is created, for one metered read, until the time of looking is over."""
    restored = restore(backup())
    begin(restored, datetime.now(UTC))
    before = restored.reads
    restored.bill("inv-new")
    restored.settle()
    assert restored.outcome("invoice", "inv-new") == ("succeeded", None)
    assert restored.reads == before + 1
    with restored.fleet.transaction(TENANT) as connection:
        connection.exec_driver_sql("UPDATE company SET look_first_until = clock_timestamp()")
    restored.bill("inv-later")
    restored.settle()
    assert restored.reads == before + 1


def test_the_fleet_waits_until_it_is_told(workbench: Workbench) -> None:
    """Nothing leaves between the restore and the operator's word."""
    with workbench.fleet.transaction(ALL_TENANTS) as connection:
        restoration.begin(
            connection, datetime.now(UTC), look=timedelta(days=1), actor="operator", reason="restored"
        )
    workbench.bill("inv-1")
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("waiting", "pause")
    assert workbench.objects("Invoice") == []


def test_a_moment_still_to_come_is_refused(workbench: Workbench) -> None:
    """A typing mistake changes nothing and is named."""
    with (
        pytest.raises(Refusal, match="still to come") as caught,
        workbench.fleet.transaction(ALL_TENANTS) as connection,
    ):
        restoration.begin(
            connection,
            datetime.now(UTC) + timedelta(days=1),
            look=timedelta(days=1),
            actor="operator",
            reason="restored",
        )
    assert caught.value.field == "restored_to"
    with workbench.fleet.transaction(ALL_TENANTS) as connection:
        assert pauses.active(connection) == []
