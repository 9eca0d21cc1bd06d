"""A pool of workers through outages, refusals and ends, on a real broker and a real database."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from dramatiq.middleware import Middleware
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from deploy.local import PostgresqlServer, RabbitmqNode
from messages import BadMessage, Problem, commands
from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from services.ledger.runner import Verdict
from tests.integration.workers.harness import Amqp
from tests.integration.workers.running import DONE, Running, fleet
from tests.integration.workers.sides import Blocker
from tests.support import eventually
from tests.support.proxy import Door
from workers import topology
from workers.headers import Headers
from workers.topology import QueueName


def _send(amqp: Amqp, *operations: UUID) -> None:
    for operation in operations:
        amqp.publish("work", "export", _command(operation), message_id=str(operation))


def _command(operation: UUID, attempt: int = 1) -> bytes:
    return commands.encode(commands.Command(operation_id=operation, attempt=attempt))


def test_a_command_reaches_the_runner_and_is_acked(broker_url: str, amqp: Amqp) -> None:
    """Operation and attempt arrive as they were sent; the message is gone once the outcome is recorded."""
    ran: list[tuple[UUID, int]] = []

    def run(operation_id: UUID, attempt: int) -> Verdict:
        ran.append((operation_id, attempt))
        return DONE

    operation = uuid4()
    with Running(broker_url, fleet(run=run)):
        amqp.publish("work", "export", _command(operation, 3))
        eventually(lambda: ran)
    assert ran == [(operation, 3)]
    assert amqp.depth("export.v1") == amqp.depth("dead.v1") == 0


def test_an_outcome_that_needs_a_person_is_a_letter(broker_url: str, amqp: Amqp) -> None:
    """The runner has recorded it; its message joins the exception through `dead`."""
    refused = Verdict(reject=True, code="missing_item_mapping", reason="no item for service S")
    operation = uuid4()
    with Running(broker_url, fleet(run=lambda operation_id, attempt: refused)):
        _send(amqp, operation)
        assert amqp.take("dead.v1").body == _command(operation)


def test_an_event_that_intake_refuses_is_a_letter(broker_url: str, amqp: Amqp) -> None:
    """What only the ledger can see is wrong with an event ends like what anybody can see."""

    def intake(body: bytes, headers: Headers) -> None:
        raise BadMessage([Problem("sequence", "is taken")])

    with Running(broker_url, fleet(intake=intake)):
        body = b'{"type": "com.algapsa.billing.invoice.voided.v1"}'
        amqp.publish("billing", "invoice.voided.v1", body)
        assert amqp.take("dead.v1").body == body


def test_an_unexpected_failure_comes_back_until_its_limit(broker_url: str, amqp: Amqp) -> None:
    """A bug neither acks a message nor keeps it for ever, and the messages behind it are done meanwhile."""
    tries: list[UUID] = []
    poison, *healthy = [uuid4() for _ in range(5)]

    def run(operation_id: UUID, attempt: int) -> Verdict:
        tries.append(operation_id)
        if operation_id == poison:
            raise LookupError("a bug")
        return DONE

    with Running(broker_url, fleet(run=run)):
        _send(amqp, poison, *healthy)
        letter = amqp.take("dead.v1")
        eventually(lambda: set(healthy) <= set(tries))
    assert letter.headers["x-first-death-reason"] == "delivery_limit"
    assert tries.count(poison) == topology.DELIVERY_LIMIT + 1
    assert amqp.depth("export.v1") == 0


def test_an_unexpected_failure_rests_before_it_comes_back(broker_url: str, amqp: Amqp) -> None:
    """Trouble of a second must not use up twenty deliveries."""
    tries: list[int] = []

    def run(operation_id: UUID, attempt: int) -> Verdict:
        tries.append(attempt)
        raise LookupError("a bug")

    with Running(broker_url, fleet(run=run), rest=30):
        _send(amqp, uuid4())
        eventually(lambda: tries)
        assert amqp.depth("export.v1") == 0
    assert amqp.depth("export.v1") == 1  # given back by the drain, which waits for no rest
    assert len(tries) == 1


class _Broken(Middleware):
    def before_ack(self, broker: Any, message: Any) -> None:
        raise LookupError("a bug in a hook")


def test_a_hook_that_fails_before_the_ack_leaves_the_message_unacked(broker_url: str, amqp: Amqp) -> None:
    """Whoever wanted to do something before the ack did not get it done, so there is no ack."""
    running = Running(broker_url, fleet())
    running.broker.add_middleware(_Broken())
    operation = uuid4()
    with running:
        _send(amqp, operation)
        letter = amqp.take("dead.v1")
    assert letter.body == _command(operation)
    assert letter.headers["x-first-death-reason"] == "delivery_limit"


def test_an_actor_beyond_its_time_limit_is_interrupted_and_not_acked(broker_url: str, amqp: Amqp) -> None:
    """Python that runs for ever ends, and its message comes back."""
    tries: list[int] = []

    def run(operation_id: UUID, attempt: int) -> Verdict:
        tries.append(attempt)
        deadline = time.monotonic() + 20
        while len(tries) == 1 and time.monotonic() < deadline:
            pass  # an exception reaches Python between two steps, and never inside a call that waits
        return DONE

    with Running(broker_url, fleet(run=run), time_limit=0.2) as running:
        _send(amqp, uuid4())
        eventually(lambda: len(tries) == 2, what="again")
        eventually(lambda: not running.broker.fail_closed.busy)
        assert running.pool.faults == []
    assert amqp.depth("export.v1") == amqp.depth("dead.v1") == 0


def test_a_drain_during_an_outage_gives_everything_back(broker_url: str, amqp: Amqp) -> None:
    """A deploy while the database is down neither hangs nor loses what was held."""

    def down() -> None:
        raise _refused()

    def run(operation_id: UUID, attempt: int) -> Verdict:
        raise _refused()

    with Running(broker_url, fleet(run=run, ask_database=down)) as running:
        _send(amqp, *[uuid4() for _ in range(4)])  # as many as are prefetched
        eventually(lambda: not running.gate.is_open and amqp.depth("export.v1") == 0)
        assert running.pool.drain(3)
    eventually(lambda: amqp.depth("export.v1") == 4)


def test_work_goes_on_after_the_network_was_cut(broker_url: str, amqp: Amqp) -> None:
    """Consumers find their way back by themselves, and nothing is left behind."""
    done: list[UUID] = []

    def run(operation_id: UUID, attempt: int) -> Verdict:
        done.append(operation_id)
        return DONE

    operations = [uuid4() for _ in range(20)]
    proxy = Door(broker_url)
    with Running(proxy.url, fleet(run=run)):
        for index, operation in enumerate(operations):
            _send(amqp, operation)
            if index % 5 == 0:
                proxy.cut()
        eventually(lambda: set(done) == set(operations), what="all done")
        eventually(lambda: amqp.depth("export.v1") == 0)
    proxy.close()


def test_prefetched_work_of_a_lost_connection_is_not_begun(broker_url: str, amqp: Amqp) -> None:
    """The broker has given it to somebody else by then; beginning it would only do it twice."""
    work = Blocker()
    first, second = uuid4(), uuid4()

    def run(operation_id: UUID, attempt: int) -> Verdict:
        work(str(operation_id))
        return DONE

    proxy = Door(broker_url)
    with Running(proxy.url, fleet(run=run), threads=1):
        _send(amqp, first, second)
        work.await_begun(str(first))
        eventually(lambda: amqp.depth("export.v1") == 0, what="both taken")
        proxy.refuse()
        proxy.cut()
        eventually(lambda: amqp.depth("export.v1") == 2, what="both given back")
        work.release(str(first), str(second))
        proxy.refuse(False)
        eventually(lambda: amqp.consumers("export.v1") == 1 and amqp.depth("export.v1") == 0)
        eventually(lambda: work.begun.count(str(second)) == 1)
    proxy.close()
    assert work.begun.count(str(second)) == 1


def test_a_deleted_queue_is_declared_again(broker_url: str, amqp: Amqp) -> None:
    """The running fleet restores what somebody deleted, and every one of its consumers works on."""
    done: list[UUID] = []

    def run(operation_id: UUID, attempt: int) -> Verdict:
        done.append(operation_id)
        return DONE

    pools = [Running(broker_url, fleet(run=run), queues=(QueueName.EXPORT,)) for _ in range(4)]
    with ExitStack() as stack:
        for pool in pools:
            stack.enter_context(pool)
        amqp.channel.queue_delete("export.v1")
        eventually(lambda: amqp.exists("export.v1") and amqp.consumers("export.v1") == 4, what="all are back")
        operations = [uuid4() for _ in range(40)]
        _send(amqp, *operations)
        eventually(lambda: set(done) == set(operations), what="none went to a consumer that nobody serves")


def test_a_queue_with_other_arguments_is_not_consumed(broker_url: str, amqp: Amqp) -> None:
    """Its rejects might vanish. The queues beside it are worked on, and readiness says what is wrong."""
    amqp.channel.queue_delete("export.v1")
    amqp.declare_queue("export.v1", {"x-queue-type": "quorum"})
    taken: list[bytes] = []
    running = Running(broker_url, fleet(intake=lambda body, headers: taken.append(body)))
    running.pool.start()
    amqp.publish("billing", "any.v1", b'{"type": "com.algapsa.billing.invoice.voided.v1"}')
    eventually(lambda: taken)
    assert running.pool.obstacles == ["not consuming export.v1"]
    assert amqp.consumers("export.v1") == 0
    running.pool.drain(5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_readiness_fails_when_a_thread_has_died(broker_url: str, amqp: Amqp) -> None:
    """A fleet that silently shrinks is found out."""

    class Murder(BaseException):
        """Nothing that a worker thread survives."""

    running = Running(broker_url, fleet(), threads=2)

    def die(*_: object, **__: object) -> None:
        raise Murder

    with running:
        running.broker.emit_after = die  # type: ignore[method-assign]  # as an async interruption would
        _send(amqp, uuid4())
        eventually(lambda: any("a thread has died" in fault for fault in running.pool.faults))
        del running.broker.emit_after


def test_nothing_is_acked_and_nothing_dies_while_the_database_is_down(
    broker_url: str, amqp: Amqp, database_server: PostgresqlServer
) -> None:
    """Messages taken during an outage are held, given back when it lasts, and done when it is over."""
    database = Database(database_server.url, Role.FLEET)
    done: list[UUID] = []

    def select() -> None:
        with database.transaction(ALL_TENANTS) as connection:
            connection.execute(text("SELECT 1"))

    def run(operation_id: UUID, attempt: int) -> Verdict:
        select()
        done.append(operation_id)
        return DONE

    operations = [uuid4() for _ in range(30)]
    with Running(broker_url, fleet(run=run, ask_database=select), patience=1) as running:
        select()
        database_server.kill()
        _send(amqp, *operations)
        eventually(lambda: not running.gate.is_open, what="the gate shuts")
        assert "the database does not answer" in running.pool.obstacles

        eventually(lambda: amqp.consumers("export.v1") == 0, what="consumers close")
        eventually(lambda: amqp.depth("export.v1") == len(operations), what="all given back")
        assert done == []

        database_server.start(dies_with_parent=True)
        eventually(lambda: set(done) == set(operations), 20, what="all done")
        eventually(lambda: not running.pool.obstacles)
    assert len(done) == len(operations)
    assert amqp.depth("export.v1") == amqp.depth("dead.v1") == 0
    database.close()


def test_a_short_outage_costs_no_delivery(broker_url: str, amqp: Amqp) -> None:
    """What is held is begun again in place; the broker never counts it."""
    tries: list[int] = []
    down = [True]

    def ask() -> None:
        if down[0]:
            raise _refused()

    def run(operation_id: UUID, attempt: int) -> Verdict:
        tries.append(attempt)
        if down[0]:
            raise _refused()
        return DONE

    with Running(broker_url, fleet(run=run, ask_database=ask)) as running:
        _send(amqp, uuid4())
        eventually(lambda: not running.gate.is_open)
        down[0] = False
        eventually(lambda: len(tries) == 2)
        assert running.pool.faults == []
    assert amqp.depth("export.v1") == amqp.depth("dead.v1") == 0


def _refused() -> OperationalError:
    return OperationalError("SELECT 1", {}, psycopg.OperationalError("connection refused"))


def test_a_message_that_only_claims_an_outage_is_found_out(broker_url: str, amqp: Amqp) -> None:
    """While the database answers everybody else, one message may not hold its thread for ever."""
    tries: list[int] = []

    def run(operation_id: UUID, attempt: int) -> Verdict:
        tries.append(attempt)
        raise _refused()

    with Running(broker_url, fleet(run=run)):
        _send(amqp, uuid4())
        letter = amqp.take("dead.v1", 60)
    assert letter.headers["x-first-death-reason"] == "delivery_limit"


def test_work_goes_on_after_the_broker_was_killed_and_wiped(broker_node: RabbitmqNode) -> None:
    """A broker that comes back empty is declared again by whoever was at work; the ledger sends again."""
    topology.declare(broker_node.url)
    done: list[UUID] = []

    def run(operation_id: UUID, attempt: int) -> Verdict:
        done.append(operation_id)
        return DONE

    with Running(broker_node.url, fleet(run=run), queues=(QueueName.EXPORT,)) as running:
        amqp = Amqp(broker_node.url)
        operations = [uuid4() for _ in range(10)]
        _send(amqp, *operations)
        eventually(lambda: set(done) == set(operations))
        amqp.close()
        broker_node.kill()
        eventually(lambda: running.pool.obstacles == ["not consuming export.v1"])
        broker_node.wipe()
        broker_node.start(dies_with_parent=True)
        eventually(lambda: not running.pool.obstacles, 20, what="consuming again")
        amqp = Amqp(broker_node.url)
        again = [uuid4() for _ in range(10)]
        _send(amqp, *again)
        eventually(lambda: set(again) <= set(done))
        amqp.close()
