"""What batches of 25 gain and cost, at Intuit's limits: the figures of `docs/outbound.md`, smaller.

`ALGASYNC_BATCH_DOCUMENTS=500 pytest -s tests/bench/test_batches.py` measures them in two minutes and logs them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import pytest
import structlog

import outbox
from services.cli.arena import Arena
from services.configuration import Configuration
from services.connections import meter
from services.connections.application import Application
from services.connections.clients import Clients
from services.connections.intuit import Intuit
from services.connections.vault import Vault, new_key
from services.database import Database, Role
from services.exceptions.attention import ConnectionAttention
from services.exceptions.desk import ExceptionDesk
from services.ledger import dispatch
from services.ledger.intake import Intake
from services.ledger.runner import Runner
from services.mapping import settings
from services.outbound import batch_backlog
from services.outbound.effects import Effects
from services.outbound.handlers import HANDLERS
from tests.support.exporting import invoice
from tests.support.sandbox import Sandbox

log = structlog.get_logger()

DOCUMENTS: Final = int(os.environ.get("ALGASYNC_BATCH_DOCUMENTS", "50"))
IN_FLIGHT: Final = 8
WITHIN: Final = 600.0  # seconds


@pytest.fixture
def fleet(database_url: str) -> Iterator[Database]:
    """The database."""
    with Database(database_url, Role.FLEET, pool_size=IN_FLIGHT + 4) as database:
        yield database


@pytest.mark.timeout(WITHIN + 60)
def test_batches_at_intuits_limits(fleet: Database, sandbox: Sandbox) -> None:
    """The same backlog of one company one by one and 25 a call: everything arrives once, faster, for a read each."""
    vault = Vault([new_key()])
    arena = Arena(sandbox.control, fleet, vault)
    arena.prepare(limits=True)
    singly = measured(fleet, sandbox, arena, vault, "t-1", "9341450000000901", 0)
    together = measured(fleet, sandbox, arena, vault, "t-2", "9341450000000902", 25)
    log.info("measured", documents=DOCUMENTS, one_by_one=singly, batches_of_25=together)
    assert (singly["calls"], singly["metered_reads"]) == (DOCUMENTS, 0)
    assert (together["calls"], together["metered_reads"]) == (-(-DOCUMENTS // 25), DOCUMENTS)
    assert together["answers_429"] == singly["answers_429"] == 0
    assert together["seconds"] < singly["seconds"]


def measured(
    fleet: Database, sandbox: Sandbox, arena: Arena, vault: Vault, tenant: str, realm: str, size: int
) -> dict[str, Any]:
    """Let a backlog go, at the whole of Intuit's limits."""
    company_id = arena.join(tenant, realm)
    intake = Intake(fleet, Effects(), ExceptionDesk())
    with fleet.transaction(tenant) as connection:
        scope = settings.of_company(company_id)
        settings.put(connection, tenant, scope, "limiter_share", 1.0, actor="bench")
        settings.put(connection, tenant, scope, "export_batch_size", size, actor="bench")
    for number in range(DOCUMENTS):
        data = invoice(f"inv-{number}")
        with fleet.transaction(tenant) as connection:
            emitted = outbox.emit(connection, tenant, "invoice.finalized.v1", data["id"], data)
            body: str = connection.exec_driver_sql(
                "SELECT body FROM outbox_event WHERE event_id = %s", (emitted.event_id,)
            ).scalar_one()
        intake.take_over(body.encode())
    clients = Clients(fleet, intuit(sandbox, vault), ConnectionAttention())
    try:
        seconds = worked(fleet, clients)
        with fleet.transaction(tenant) as connection:
            spent = meter.spent(connection, company_id).total
    finally:
        clients.close()
    numbers = [one["DocNumber"] for one in arena.objects(realm)]
    assert sorted(numbers) == sorted(f"INV-{number}" for number in range(DOCUMENTS))
    counted = arena.counters(realm)
    return {
        "seconds": round(seconds, 1),
        "documents_per_minute": round(60 * DOCUMENTS / seconds),
        "calls": sum(counted["requests"].values()),
        "metered_reads": spent,
        "answers_429": counted["statuses"].get("429", 0),
    }


def intuit(sandbox: Sandbox, vault: Vault) -> Intuit:
    """The sandbox, as a fleet is told of it."""
    configuration = Configuration(
        quickbooks_api_url=sandbox.api,
        quickbooks_token_url=f"{sandbox.api}/oauth2/v1/tokens/bearer",
    )
    return Intuit(configuration, Application(redirect_uri="http://127.0.0.1/callback"), vault)


def worked(fleet: Database, clients: Clients) -> float:
    """Dispatch and run as the fleet does, without a broker, until nothing is left; seconds it took."""
    runner = Runner(
        fleet,
        HANDLERS,
        clients,
        ExceptionDesk(),
        lease=timedelta(seconds=120),
        call_within=timedelta(seconds=90),
        replay_within=timedelta(hours=12),
    )
    began, running = time.monotonic(), dict[Future[object], UUID]()
    with ThreadPoolExecutor(IN_FLIGHT) as workers:
        while time.monotonic() - began < WITHIN:
            with fleet.transaction("*") as connection:
                batch_backlog.gather(connection)
                due = dispatch.due(connection, in_flight=IN_FLIGHT, limit=500)
                unfinished = connection.exec_driver_sql(
                    "SELECT count(*) FROM operation WHERE finished_at IS NULL"
                ).scalar_one()
            if not unfinished:
                return time.monotonic() - began
            for command in due:
                if command.operation_id not in running.values() and len(running) < IN_FLIGHT:
                    running[workers.submit(runner.run, command.operation_id, command.attempt)] = (
                        command.operation_id
                    )
            for done in wait(running, timeout=0.02, return_when=FIRST_COMPLETED).done:
                done.result()
                del running[done]
    raise AssertionError(f"the backlog took more than {WITHIN} s")
