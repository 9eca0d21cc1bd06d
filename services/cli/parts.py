"""The parts of a fleet process, built from settings: what the processes' commands and `up` share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from services.cli import tracing, wiring
from services.cli.tracing import Tracing
from services.configuration import Configuration
from services.connections.clients import Clients
from services.connections.vault import Vault
from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from services.exceptions import letters
from services.exceptions.attention import ConnectionAttention
from services.exceptions.desk import ExceptionDesk
from services.exceptions.letters import Letter
from services.exceptions.notice_mail import mail_settings
from services.inbound.handlers import HANDLERS as INBOUND
from services.ledger.intake import Intake
from services.ledger.runner import Runner
from services.outbound.effects import Effects
from services.outbound.handlers import HANDLERS as OUTBOUND
from services.psa.addresses import outgoing
from services.psa.notifier import Notifier
from services.psa.senders import senders
from workers.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Parts:
    """One process' parts; `close` when it ends."""

    database: Database
    clients: Clients
    intake: Intake
    runner: Runner
    notifier: Notifier
    tracing: Tracing | None = None

    def fleet(self) -> Fleet:
        """What the actors call."""
        fleet = Fleet(
            intake=lambda body, _: self.intake.take_over(body),
            run=self.runner.run,
            file_letter=self.file_letter,
            ask_database=self.ask_database,
            notify=self.notifier.wake,
        )
        return self.tracing.fleet(fleet) if self.tracing is not None else fleet

    def file_letter(self, letter: Letter) -> object:
        """File a dead letter in a transaction of its own."""
        with self.database.transaction(ALL_TENANTS) as connection:
            return letters.file(connection, letter)

    def ask_database(self) -> object:
        """Return when the database can be worked with, raise when it cannot."""
        with self.database.transaction(ALL_TENANTS) as connection:
            return connection.execute(text("SELECT 1")).scalar_one()

    def close(self) -> None:
        """Finish what is being sent, then close the pools of database and HTTP."""
        self.notifier.close()
        self.clients.close()
        self.database.close()


def parts(settings: Configuration, *, threads: int, application: str) -> Parts:
    """Build the parts of a process that works with `threads` threads."""
    database = Database(
        wiring.database_url(settings), Role.FLEET, pool_size=threads + 8, application=application
    )
    clients = Clients(database, wiring.intuit(settings), ConnectionAttention())
    desk = ExceptionDesk()
    provider = tracing.provider(application)
    traces = Tracing(provider, database) if provider is not None else None
    runner = Runner(
        database,
        {**OUTBOUND, **INBOUND},
        traces.clients(clients) if traces is not None else clients,
        desk,
        lease=timedelta(seconds=settings.lease_seconds),
        call_within=timedelta(seconds=settings.call_seconds),
        replay_within=timedelta(hours=settings.unknown_outcome_hours),
    )
    notifier = Notifier(database, senders(Vault.of(settings), outgoing(), mail_settings()))
    return Parts(database, clients, Intake(database, Effects(), desk), runner, notifier, traces)
