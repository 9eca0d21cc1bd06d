"""What `doctor` looks at: the broker's own verification, and the database's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from services.cli import wiring
from services.cli.console import Told
from services.cli.errors import in_words
from services.configuration import configuration
from services.database import Database, Role, current_revision, head_revision
from services.database.engine import ALL_TENANTS
from services.ledger import sweep
from workers.verification import Finding, Severity, verify

OLDEST, NEWEST = 15, 18  # versions of PostgreSQL

_STUCK = text(
    """SELECT count(*) FROM event WHERE state = 'waiting' AND received_at < clock_timestamp() - interval '1 hour'"""
)
_SILENT = text(
    """SELECT count(*) FROM operation o WHERE o.state = 'failed'
          AND NOT EXISTS (SELECT FROM exception e WHERE e.operation_id = o.operation_id AND e.state <> 'resolved')"""
)


@dataclass
class Report:
    """All findings, and what could not be looked at."""

    findings: list[Finding] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    unreachable: bool = False

    @property
    def healthy(self) -> bool:
        """Whether nothing is left to do."""
        return not self.unreachable and all(one.severity == Severity.MENDED for one in self.findings)


def examine() -> Report:
    """Check everything that can be reached; what cannot is said, and is a finding of its own."""
    report = Report()
    try:
        url = wiring.database_url()
        report.findings += _database(url)
    except (Told, DBAPIError) as error:
        told = in_words(error) or error
        report.unreachable = True
        report.not_checked.append("the database: revision, roles, liveness, exceptions")
        report.findings.append(
            Finding(
                Severity.ERROR,
                "database",
                f"cannot be used: {told}",
                "nothing can be taken over, exported or listed",
                "start PostgreSQL, or correct DATABASE_URL",
            )
        )
    broker = wiring.broker_url()
    if not broker:
        report.not_checked.append(
            "RabbitMQ: BROKER_URL is not set and no private node runs; `algasync up` works without one, in one process"
        )
        return report
    found = verify(broker, configuration().broker_management_url)
    report.findings += found
    if any(one.subject == "broker" and "does not answer" in one.what for one in found):
        report.unreachable = True
        report.not_checked.append("queues, their arguments, and where dead letters go")
    elif not configuration().broker_management_url:
        report.not_checked.append("policies of the broker (set BROKER_MANAGEMENT_URL to include them)")
    return report


def _database(url: str) -> Iterator[Finding]:
    at, head = current_revision(url), head_revision()
    if at != head:
        yield Finding(
            Severity.ERROR,
            "database",
            f"is at revision {at or 'none'}, this program needs {head}",
            "programs and tables of different revisions misunderstand each other",
            "run: algasync migrate" if at is None or at < head else "run the newer program",
        )
        return
    with Database(url, Role.FLEET, pool_size=1) as database, database.transaction(ALL_TENANTS) as connection:
        yield from _server(connection)
        yield from _ledger(connection)


def _server(connection: Connection) -> Iterator[Finding]:
    major = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
    if not OLDEST <= major <= NEWEST:
        yield Finding(
            Severity.WARNING,
            "database",
            f"is PostgreSQL {major}",
            f"everything is tested on {OLDEST} to {NEWEST}",
            f"use a PostgreSQL {OLDEST} to {NEWEST}",
        )
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        if connection.execute(text(f"SHOW {setting}")).scalar_one() == "off":
            yield Finding(
                Severity.ERROR,
                "database",
                f"runs with {setting} off",
                "what was committed can be lost in a crash, and with it what was sent to QuickBooks",
                f"set {setting} = on",
            )


def _ledger(connection: Connection) -> Iterator[Finding]:
    for violation, count in sweep.violations(connection).items():
        yield Finding(
            Severity.WARNING,
            "ledger",
            f"has {count} operations that break the liveness invariant ({violation})",
            "the dispatcher's sweep repairs them within seconds, so either it just happened or none runs",
            "run doctor again; if they stay, start a dispatcher: algasync dispatcher",
        )
    stuck = connection.execute(_STUCK).scalar_one()
    if stuck:
        yield Finding(
            Severity.WARNING,
            "ledger",
            f"has {stuck} events that wait more than an hour for an earlier one of their document",
            "events of a document are applied in their order, and one is missing",
            "replay its dead letter (algasync dead-letters list --queue intake), or emit it again",
        )
    silent = connection.execute(_SILENT).scalar_one()
    if silent:
        yield Finding(
            Severity.ERROR,
            "ledger",
            f"has {silent} failed operations without an exception",
            "nobody is told of them",
            "run: algasync recover",
        )
