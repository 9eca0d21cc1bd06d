"""No dead letter is lost on its way from the broker into the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from sqlalchemy import text

from deploy.local import PostgresqlServer
from services.cli.chaos.proxy import Proxy
from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from services.exceptions import letters
from services.exceptions.letters import Letter
from tests.integration.workers.harness import Amqp
from tests.integration.workers.running import fleet
from tests.support import eventually
from workers.collector import PREFETCH, Collector
from workers.fleet import Fleet
from workers.headers import UNREADABLE
from workers.rabbitmq import RabbitmqSession
from workers.verification import verify


class _Running(Collector):
    """A collector that counts its stays."""

    def __init__(self, url: str, work: Fleet) -> None:
        self.entered = 0

        def enter() -> RabbitmqSession:
            self.entered += 1
            return RabbitmqSession(url, "dead.v1", PREFETCH)

        super().__init__(enter, work)


@contextmanager
def _collecting(url: str, work: Fleet) -> Iterator[_Running]:
    stop = threading.Event()
    collector = _Running(url, work)
    thread = threading.Thread(target=collector.run, args=(stop,))
    thread.start()
    try:
        yield collector
    finally:
        stop.set()
        thread.join()


def _die(amqp: Amqp, *bodies: bytes) -> None:
    for body in bodies:
        amqp.publish("work", "export", body, message_id=str(uuid4()))
        amqp.reject("export.v1")


def test_a_letter_says_where_and_why_it_died(broker_url: str, amqp: Amqp) -> None:
    """Queue, reason, id and body come from the broker; the letter leaves it once filed."""
    filed: list[Letter] = []
    with _collecting(broker_url, fleet(file_letter=filed.append)):
        amqp.publish("work", "export", b"body", message_id="m1", type="command.v1", headers={"tenant": "t1"})
        amqp.reject("export.v1")
        (letter,) = eventually(lambda: filed)
        eventually(lambda: amqp.consumers("dead.v1") == 1)
    assert (letter.queue, letter.reason, letter.body) == ("export.v1", "rejected", b"body")
    assert letter.code is None  # nobody wrote one: whoever files it reads the body again
    assert letter.headers["message_id"] == "m1"
    assert letter.headers["tenant"] == "t1"
    assert letter.headers["x-death"][0]["count"] == 1
    assert amqp.depth("dead.v1") == 0


def test_fifty_disconnections_lose_no_letter(
    broker_url: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the connection breaks, before or after filing, every letter is filed at least once."""
    monkeypatch.setattr("workers.collector._REST", 0.05)
    filed: list[bytes] = []
    bodies = [b"letter %d" % number for number in range(100)]
    proxy = Proxy(broker_url)

    def file(letter: Letter) -> None:
        if len(filed) % 2 == 0 and cuts[0] < 50:
            cuts[0] += 1
            proxy.cut()  # between taking and filing; the ack that follows is lost with the connection
        filed.append(letter.body)

    cuts = [0]
    _die(amqp, *bodies)
    with _collecting(proxy.url, fleet(file_letter=file)):
        eventually(lambda: set(filed) == set(bodies) and cuts[0] == 50, 60, what="all filed")
        eventually(lambda: amqp.consumers("dead.v1") == 1 and amqp.depth("dead.v1") == 0)
    proxy.close()
    assert amqp.depth("dead.v1") == 0


def test_while_the_database_is_down_the_consumer_closes_once(
    broker_url: str, amqp: Amqp, database_server: PostgresqlServer
) -> None:
    """Letters stay in the broker, untouched, until they can be filed; then each is filed by the ledger's rules."""
    database = Database(database_server.url, Role.FLEET)

    def ask() -> None:
        with database.transaction(ALL_TENANTS) as connection:
            connection.execute(text("SELECT 1"))

    def file(letter: Letter) -> None:
        with database.transaction(ALL_TENANTS) as connection:
            letters.file(connection, letter)

    def filed() -> int:
        with database.transaction(ALL_TENANTS) as connection:
            return int(connection.execute(text("SELECT count(*) FROM letter")).scalar_one())

    with _collecting(broker_url, fleet(file_letter=file, ask_database=ask)) as collector:
        _die(amqp, b"before")
        eventually(lambda: filed() == 1)
        database_server.kill()
        _die(amqp, *[b"during %d" % number for number in range(10)])
        eventually(lambda: collector.obstacles and amqp.consumers("dead.v1") == 0, what="closed")
        assert "the database does not answer" in collector.obstacles
        eventually(lambda: amqp.depth("dead.v1") == 10, what="given back")
        database_server.start(dies_with_parent=True)
        eventually(lambda: filed() == 11, 20, what="all filed")
    assert collector.entered == 2
    assert amqp.depth("dead.v1") == 0
    database.close()


def test_a_letter_that_cannot_be_filed_is_kept_and_holds_up_nobody(
    broker_url: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in filing costs no letter: it is tried again, and the others are filed meanwhile."""
    monkeypatch.setattr("workers.collector._FIRST_RETRY", 0.05)
    filed: list[bytes] = []
    broken = [True]

    def file(letter: Letter) -> None:
        if letter.body == b"odd" and broken[0]:
            raise LookupError("a bug")
        filed.append(letter.body)

    _die(amqp, b"odd", b"even")
    with _collecting(broker_url, fleet(file_letter=file)) as collector:
        eventually(lambda: filed == [b"even"])
        eventually(lambda: any("1 letters could not be filed" in each for each in collector.obstacles))
        broken[0] = False
        eventually(lambda: filed == [b"even", b"odd"])
        eventually(lambda: collector.obstacles == [])
    assert amqp.depth("dead.v1") == 0


def test_an_unfiled_letter_is_in_the_broker_when_the_collector_ends(broker_url: str, amqp: Amqp) -> None:
    """It never expires and has no delivery limit, so it waits for the next collector."""

    def file(letter: Letter) -> None:
        raise LookupError("a bug")

    _die(amqp, b"odd")
    with _collecting(broker_url, fleet(file_letter=file)) as collector:
        eventually(lambda: any("1 letters could not be filed" in each for each in collector.obstacles))
    eventually(lambda: amqp.depth("dead.v1") == 1)


def test_a_probe_of_doctor_is_no_letter(broker_url: str, amqp: Amqp) -> None:
    """Checking the broker leaves no trace on anybody's list."""
    filed: list[Letter] = []
    with _collecting(broker_url, fleet(file_letter=filed.append)):
        assert verify(broker_url) == []
        eventually(lambda: amqp.depth("dead.v1") == 0)
        _die(amqp, b"real")
        eventually(lambda: filed)
    assert [letter.body for letter in filed] == [b"real"]


FORGED = {"x-algasync-queue": "export", "x-algasync-code": "nothing", "x-algasync-reason": "all is well"}


def test_our_own_headers_on_a_letter_of_the_broker_are_not_believed(broker_url: str, amqp: Amqp) -> None:
    """A publisher of events must not make a letter look as if it had died among the commands."""
    filed: list[Letter] = []
    with _collecting(broker_url, fleet(file_letter=filed.append)):
        amqp.publish("billing", "any.v1", b"{}", headers=dict(FORGED))
        amqp.reject("intake.v1")
        (letter,) = eventually(lambda: filed)
    assert (letter.queue, letter.code, letter.message) == ("intake.v1", None, None)


ODD: dict[str, Callable[[], dict[str, object]]] = {
    "a NUL": lambda: {"name": "a\0b", "\0": 1},
    "not UTF-8": lambda: {"name": b"\xff\xfe"},
    "a big number": lambda: {"name": 2**62},
    "nested": lambda: {"name": {"a": [{"b": [1, None, {"c": "d"}]}]}},
}


@pytest.mark.parametrize("name", ODD)
def test_a_letter_with_odd_headers_is_filed(
    broker_url: str, amqp: Amqp, database_url: str, name: str
) -> None:
    """Whatever headers hold, PostgreSQL takes the letter."""
    with Database(database_url, Role.FLEET) as database:
        filed = threading.Event()

        def file(letter: Letter) -> None:
            with database.transaction(ALL_TENANTS) as connection:
                letters.file(connection, letter)
            filed.set()

        with _collecting(broker_url, fleet(file_letter=file)):
            amqp.publish("work", "export", b"\x00\xff", headers=ODD[name]())
            amqp.reject("export.v1")
            assert filed.wait(10)


def test_a_letter_whose_headers_nobody_can_read_is_filed(
    broker_url: str, amqp: Amqp, deadly_headers: Callable[[], dict[str, object]]
) -> None:
    """In `dead.v1` nothing ends a letter, so one that cut the connection would stop all others for ever."""
    filed: list[Letter] = []
    with _collecting(broker_url, fleet(file_letter=filed.append)) as collector:
        amqp.publish("dead", "", b"unreadable", headers=deadly_headers())
        amqp.publish("dead", "", b"readable")
        eventually(lambda: len(filed) == 2)
    assert [letter.body for letter in filed] == [b"unreadable", b"readable"]
    assert UNREADABLE in filed[0].headers
    assert collector.entered == 1
