"""A tenant with a company, operations that fail, and dead letters about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

import outbox
from messages import commands
from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from services.exceptions import archive, exceptions, letters
from services.exceptions.archive import FiledLetter
from services.exceptions.desk import ExceptionDesk, Subject, report
from services.exceptions.exceptions import SyncException
from services.exceptions.letters import Filed, Letter
from services.ledger.operations import Operation
from services.ledger.ports import Problem
from services.ledger.take import fail
from tests.support.command import RunCli
from tests.support.exporting import invoice
from tests.support.ledger import TENANT, company, operation, read


def problem(cause: str = "mapping:item:c:svc", **changes: Any) -> Problem:
    """A missing mapping."""
    return Problem(
        **{
            "type": "accounting_sync_export_error",
            "code": "missing_item_mapping",
            "cause": cause,
            "title": "Invoice INV-7 cannot be exported",
            "happened": "line 1, service: svc is not mapped",
            "why": "QuickBooks would refuse it.",
            "fix": "Map it.",
            "amount": 13500,
            "currency": "USD",
            "client_id": "cl-1",
        }
        | changes
    )


@dataclass
class World:
    """One tenant's ledger and exception list."""

    fleet: Database
    company_id: UUID
    tenant: str = TENANT
    desk: ExceptionDesk = field(default_factory=ExceptionDesk)

    def queued(self, document_id: str = "") -> Operation:
        """An operation that is due."""
        with self.fleet.transaction(self.tenant) as connection:
            found = operation(connection, self.company_id, tenant=self.tenant, document_id=document_id)
            return read(connection, found)

    def failed(self, document_id: str = "", cause: str = "mapping:item:c:svc", **changes: Any) -> Operation:
        """An operation that failed, with its exception."""
        return self.fail(self.queued(document_id), cause, **changes)

    def fail(self, one: Operation, cause: str = "mapping:item:c:svc", **changes: Any) -> Operation:
        """Let an operation fail now."""
        with self.fleet.transaction(self.tenant) as connection:
            fail(connection, self.read(one), problem(cause, **changes), self.desk)
        return self.read(one)

    def succeed(self, one: Operation) -> None:
        """Let an operation succeed, as the runner records it."""
        with self.fleet.transaction(self.tenant) as connection:
            connection.execute(
                text(
                    """UPDATE operation SET state = 'succeeded', finished_at = clock_timestamp(), outcome = 'answered'
                        WHERE operation_id = :id"""
                ),
                {"id": one.operation_id},
            )
            self.desk.close(connection, read(connection, one.operation_id), "QuickBooks accepted it")

    def set(self, one: Operation, **values: Any) -> None:
        """Write columns of an operation."""
        columns = ", ".join(f"{name} = :{name}" for name in values)
        with self.fleet.transaction(self.tenant) as connection:
            connection.execute(
                text(f"UPDATE operation SET {columns} WHERE operation_id = :id"),
                values | {"id": one.operation_id},
            )

    def read(self, one: Operation) -> Operation:
        """The operation as it is now."""
        with self.fleet.transaction(ALL_TENANTS) as connection:
            return read(connection, one.operation_id)

    def report(self, kind: str = "invoice", id_: str = "inv-1", **changes: Any) -> UUID:
        """Report a problem of some entity."""
        with self.fleet.transaction(self.tenant) as connection:
            return report(connection, Subject(self.tenant, kind, id_), problem(**changes))

    def exceptions(self, **filters: Any) -> list[SyncException]:
        """The exception list, all states."""
        with self.fleet.transaction(ALL_TENANTS) as connection:
            return exceptions.page(connection, exceptions.Filters(states=(), **filters)).exceptions

    def exception(self, **filters: Any) -> SyncException:
        """The only exception."""
        (found,) = self.exceptions(**filters)
        return found

    def file(self, body: bytes, *, queue: str = "intake.v1", reason: str = "rejected", **more: Any) -> Filed:
        """File a dead letter as the collector does."""
        with self.fleet.transaction(ALL_TENANTS) as connection:
            return letters.file(connection, Letter(queue, reason, body, **more))

    def die(self, one: Operation, *, reason: str = "rejected", attempt: int | None = None) -> Filed:
        """File the dead command of an operation."""
        return self.file(command(one, attempt), queue="export.v1", reason=reason)

    def letters(self, **filters: Any) -> list[FiledLetter]:
        """All letters."""
        with self.fleet.transaction(ALL_TENANTS) as connection:
            return archive.page(connection, archive.Filters(states=(), **filters), limit=1000).letters

    def letter(self, **filters: Any) -> FiledLetter:
        """The only letter."""
        (found,) = self.letters(**filters)
        return found

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Rows of a query over all tenants."""
        with self.fleet.transaction(ALL_TENANTS) as connection:
            return list(connection.execute(text(query), values))

    def told(self) -> list[tuple[str, str]]:
        """Events to billing so far: type and exception id."""
        return [
            (row.type, row.subject)
            for row in self.rows(
                "SELECT type, subject FROM outbox_event WHERE exchange = 'accounting' ORDER BY id"
            )
        ]

    def emit(self, document_id: str = "") -> bytes:
        """Emit an invoice through the outbox; returns the message that the relay publishes."""
        document_id = document_id or f"inv-{uuid4().hex[:8]}"
        with self.fleet.transaction(self.tenant) as connection:
            emitted = outbox.emit(
                connection, self.tenant, "invoice.finalized.v1", document_id, invoice(document_id)
            )
        return self.published(emitted.event_id)

    def published(self, event_id: UUID) -> bytes:
        """The message of an event in the outbox."""
        ((body,),) = self.rows("SELECT body FROM outbox_event WHERE event_id = :id", id=event_id)
        return str(body).encode()


def command(one: Operation, attempt: int | None = None) -> bytes:
    """The message of an operation's attempt."""
    return commands.encode(commands.Command(operation_id=one.operation_id, attempt=attempt or one.attempt))


def altered(body: bytes, **changes: Any) -> bytes:
    """An event with other attributes."""
    return json.dumps(json.loads(body) | changes).encode()


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """One tenant with a connected company."""
    with Database(database_url, Role.FLEET, pool_size=10) as database:
        with database.transaction(TENANT) as connection:
            company_id = company(connection)
        yield World(database, company_id)


def scoped(connection: Connection) -> int:
    """How many exceptions and letters a transaction sees."""
    count: int = connection.execute(
        text("SELECT (SELECT count(*) FROM exception) + (SELECT count(*) FROM letter)")
    ).scalar_one()
    return count


class Commands:
    """The operators' commands on the test's database, as dana; `data` is a folder of the test's own."""

    def __init__(self, url: str, data: Path) -> None:
        self._env = {
            "DATABASE_URL": url,
            "BROKER_URL": "",
            "ALGASYNC_ACTOR": "dana",
            "ALGASYNC_DATA": str(data),
            "NO_COLOR": "1",
        }

    def __call__(self, *words: str, exit_code: int = 0, **env: str) -> str:
        """Run, expect the exit code, return what was printed on both."""
        code, output, errors = self._run(words, self._env | env)
        assert code == exit_code, output + errors
        return output + errors

    def json(self, *words: str, exit_code: int = 0, **env: str) -> dict[str, Any]:
        """Run with --json; standard output must be one object."""
        code, output, errors = self._run((*words, "--json"), self._env | env)
        assert code == exit_code, output + errors
        value = json.loads(output)
        assert isinstance(value, dict)
        return value

    def _run(self, words: tuple[str, ...], env: dict[str, str]) -> tuple[int, str, str]:
        raise NotImplementedError


class Installed(Commands):
    """The installed program, in a process of its own."""

    def __init__(self, url: str, data: Path, run_cli: RunCli) -> None:
        super().__init__(url, data)
        self._run_cli = run_cli

    def _run(self, words: tuple[str, ...], env: dict[str, str]) -> tuple[int, str, str]:
        done = self._run_cli(*words, env=env)
        return done.returncode, done.stdout, done.stderr


class Called(Commands):
    """The same commands in this process: a second sooner each."""

    def __init__(
        self, url: str, data: Path, patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]
    ) -> None:
        super().__init__(url, data)
        self._patch = patch
        self._captured = captured

    def _run(self, words: tuple[str, ...], env: dict[str, str]) -> tuple[int, str, str]:
        from services.cli import console, main
        from services.configuration import configuration

        with self._patch.context() as patch:
            patch.setattr("sys.argv", ["algasync", *words])
            for name, value in env.items():
                patch.setenv(name, value)
            configuration.cache_clear()
            self._captured.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        configuration.cache_clear()
        console.mode.json = False
        printed = self._captured.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err
