# mypy: untyped-calls-exclude=kombu
# (kombu ships annotations for half of its functions)
"""`algasync bench relay`: how fast events travel from PostgreSQL into a quorum queue, confirmed and marked.

Each run measures, one after the other on the same servers: the relay over a backlog (512 bytes, then 4 kB), raw
pipelined publishing by the relay's own publisher without a database, and one confirm for every message, as most clients
do it. Medians over the runs are reported, every run is in the JSON. Then the queue is read to the last message and
compared with the outbox: lost and doubled are counted, not assumed.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import uuid4

import typer

from services.cli import bench_runs, console
from services.cli.bench_runs import Runs
from services.cli.console import FAILED, USAGE, Told
from services.cli.options import Json

if TYPE_CHECKING:
    import amqp
    import psycopg

TYPE: Final = "invoice.finalized.v1"
QUEUE: Final = "bench.relay"
INTAKE: Final = "intake.v1"
PER_TENANT: Final = 150  # below the relay's limit of 200, because nobody takes anything over meanwhile
RAW_BATCH: Final = 10_000
EACH: Final = 1_500  # messages confirmed one by one, a run
DEADLINE: Final = 120.0  # seconds for one run of the relay


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the relay."""

    messages_per_second: float
    lost: int
    doubled: int


def relay(
    events: Annotated[
        int, typer.Option(min=1_000, max=2_000_000, help="Events of 512 bytes in a run.")
    ] = 50_000,
    runs: Runs = 3,
    json: Json = False,
) -> None:
    """Measure the relay: real PostgreSQL, real quorum queue, fsync and synchronous_commit on, rows marked.

    Uses DATABASE_URL (in a database of its own, dropped afterwards) and BROKER_URL (a virtual host without a fleet)
    when they are set, else private servers in a temporary folder. `ratio` is how many times faster it is than one
    confirm for each message, `share_of_raw` how much of raw pipelined publishing it reaches.

    Example: algasync bench relay --json
    """
    from services.cli import logs

    logs.configure("console", "warning")
    with _servers() as (database_url, broker_url):
        bench = Bench(database_url, broker_url)
        with bench:
            measured = [bench.run(events) for _ in range(runs)]
            report = bench_runs.report(measured, sums=("lost", "doubled"))
            report |= {"events": events, "events_4k": events // 4}
            report["machine"] |= bench.facts()
    if console.mode.json:
        console.result(report)
    else:
        bench_runs.show(report)
    if report["lost"]:
        console.note(f"{report['lost']} events did not arrive")
        raise typer.Exit(FAILED)


class Bench:
    """Servers, a quorum queue with the arguments of the fleet's own, and the four measurements."""

    def __init__(self, database_url: str, broker_url: str) -> None:
        self._database_url = database_url
        self._broker_url = broker_url

    def __enter__(self) -> Bench:
        import psycopg

        from services import database
        from workers import topology

        database.migrate(self._database_url)
        with ExitStack() as stack:
            self._session: psycopg.Connection[Any] = stack.enter_context(
                psycopg.connect(
                    self._database_url, autocommit=True, options="-c search_path=algasync,pg_catalog"
                )
            )
            broker = stack.enter_context(topology.connect(self._broker_url))
            self._amqp: amqp.Connection = broker.connection
            self._channel = self._amqp.channel()
            self._refuse_a_fleet()
            topology.BILLING(self._channel).declare()
            intake = next(
                one for one in topology.bindings(topology.server_version(broker)) if one.name == INTAKE
            )
            arguments = {
                name: value for name, value in intake.arguments.items() if not name.startswith("x-dead")
            }
            arguments["x-max-length-bytes"] = 4 << 30  # the whole backlog lies in it: nobody consumes
            self._channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments=arguments)
            stack.callback(self._channel.queue_delete, QUEUE)
            self._channel.queue_bind(QUEUE, topology.BILLING.name, "#")
            self._channel.confirm_select()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, events: int) -> dict[str, Any]:
        """All measurements once, and the ratios of this run."""
        console.note(f"measuring {events:,} events of 512 bytes, then {events // 4:,} of 4 kB ...")
        small, large = self._relay(events, 512), self._relay(events // 4, 4096)
        raw, each = self._raw(events, 512), self._confirm_each(512)
        return {
            "messages_per_second": round(small.messages_per_second),
            "messages_per_second_4k": round(large.messages_per_second),
            "confirm_each_per_second": round(each),
            "raw_publish_per_second": round(raw),
            "ratio": round(small.messages_per_second / each, 1),
            "share_of_raw": round(small.messages_per_second / raw, 2),
            "lost": small.lost + large.lost,
            "doubled": small.doubled + large.doubled,
        }

    def facts(self) -> dict[str, Any]:
        """The servers the figures were measured on, and how the relay was set."""
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
        settings = {name: self._session.execute(f"SHOW {name}").fetchone() for name in names}
        from outbox.lane import Settings

        relay = Settings()
        return {
            "postgresql": {name: value[0] for name, value in settings.items() if value},
            "rabbitmq": str(self._amqp.server_properties.get("version")),
            "queue_type": "quorum",
            "relay": {"lanes": relay.lanes, "batch": relay.batch, "window": relay.window},
        }

    def _relay(self, events: int, size: int) -> Run:
        from outbox.lane import Settings
        from outbox.relay import Relay

        self._fill(events, size)
        stop = threading.Event()
        relay = Relay(self._database_url, self._broker_url, Settings(intake_queue=QUEUE))
        thread = threading.Thread(target=relay.run, args=(stop,))
        started = time.perf_counter()
        thread.start()
        try:
            while self._unpublished(events):
                if time.perf_counter() - started > DEADLINE:
                    raise Told(
                        f"the relay did not publish {events} events in {DEADLINE:.0f} s", code="too_slow"
                    )
                time.sleep(0.02)
            took = time.perf_counter() - started
        finally:
            stop.set()
            thread.join()
        arrived = self._drain()
        emitted = {row[0] for row in self._session.execute("SELECT event_id::text FROM outbox_event")}
        return Run(events / took, lost=len(emitted - set(arrived)), doubled=len(arrived) - len(set(arrived)))

    def _raw(self, messages: int, size: int) -> float:
        """Messages a second when there is nothing to do but publish, in large pipelined batches."""
        from messages import CONTENT_TYPE
        from outbox.frames import Message
        from outbox.publisher import Publisher

        body = b"x" * size
        batch = [
            Message("billing", TYPE, str(uuid4()), TYPE, CONTENT_TYPE, body, {"tenant": "t1"})
            for _ in range(RAW_BATCH)
        ]
        with Publisher(self._broker_url) as publisher:
            publisher.connect()
            started = time.perf_counter()
            for first in range(0, messages, RAW_BATCH):
                publisher.publish(batch[: messages - first])
            took = time.perf_counter() - started
        self._channel.queue_purge(QUEUE)
        return messages / took

    def _confirm_each(self, size: int) -> float:
        """Messages a second when each is confirmed before the next is sent."""
        import amqp

        from messages import CONTENT_TYPE

        body = b"x" * size
        started = time.perf_counter()
        for _ in range(EACH):
            message = amqp.Message(
                body,
                content_type=CONTENT_TYPE,
                delivery_mode=2,
                message_id=str(uuid4()),
                type=TYPE,
                application_headers={"tenant": "t1"},
            )
            self._channel.basic_publish_confirm(message, "billing", TYPE, mandatory=True)
        took = time.perf_counter() - started
        self._channel.queue_purge(QUEUE)
        return EACH / took

    def _fill(self, events: int, size: int) -> None:
        """A backlog of events of exactly `size` bytes, spread over tenants as a host of small MSPs would."""
        self._session.execute("TRUNCATE outbox_event")
        self._session.execute(
            """INSERT INTO outbox_event (event_id, tenant_id, exchange, type, document_kind, subject, sequence, body)
               SELECT uuid_v7(), 'tenant-' || n %% %(tenants)s, 'billing', %(type)s, 'invoice', 'invoice-' || n, 1,
                      rpad('{"data":"' || md5(n::text), %(size)s - 2, md5((n + 1)::text)) || '"}'
                 FROM generate_series(1, %(events)s) AS n""",
            {"tenants": -(-events // PER_TENANT), "type": TYPE, "size": size, "events": events},
        )
        self._session.execute("VACUUM ANALYZE outbox_event")

    def _unpublished(self, events: int) -> bool:
        """Whether anything is left to do; asks the queue, which is cheap, before it asks the database."""
        if self._channel.queue_declare(QUEUE, passive=True).message_count < events:
            return True
        return bool(
            self._session.execute("SELECT 1 FROM outbox_event WHERE published_at IS NULL LIMIT 1").fetchone()
        )

    def _drain(self) -> list[str]:
        """Read the queue to its end; returns the ids of all its messages."""
        ids: list[str] = []
        channel = self._amqp.channel()
        depth = channel.queue_declare(QUEUE, passive=True).message_count
        channel.basic_consume(
            QUEUE, no_ack=True, callback=lambda message: ids.append(message.properties["message_id"])
        )
        while len(ids) < depth:
            self._amqp.drain_events(timeout=10)
        channel.close()
        return ids

    def _refuse_a_fleet(self) -> None:
        """Refuse a virtual host in which a fleet works: it would take the bench's events for invoices."""
        import amqp as client

        try:
            channel = self._amqp.channel()
            channel.queue_declare(INTAKE, passive=True)
        except client.NotFound:
            return
        raise Told(
            f"BROKER_URL names a virtual host in which a fleet works (it has the queue {INTAKE}). Give the bench one of"
            " its own, for example: rabbitmqctl add_vhost bench, and BROKER_URL=amqp://.../bench; or unset BROKER_URL",
            code="fleet_in_vhost",
            field="BROKER_URL",
            exit_code=USAGE,
        )


@contextmanager
def _servers() -> Iterator[tuple[str, str]]:
    """Addresses of a database and a virtual host that are the bench's own."""
    from deploy.local import PostgresqlServer, RabbitmqNode
    from services.cli.bench_servers import own_database
    from services.configuration import configuration

    settings = configuration()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="algasync-bench-")))
        folder.chmod(0o711)  # root's servers run under another account and must be able to pass
        if settings.database_url:
            database_url = stack.enter_context(own_database(settings.database_url))
        else:
            server = PostgresqlServer(folder / "postgresql")
            server.start(dies_with_parent=True)
            stack.callback(server.stop)
            database_url = server.url
        if settings.broker_url:
            broker_url = settings.broker_url
        else:
            node = RabbitmqNode(folder / "rabbitmq")
            node.start(dies_with_parent=True)
            stack.callback(node.stop)
            broker_url = node.url
        yield database_url, broker_url
