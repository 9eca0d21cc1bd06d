"""Foreseeable errors of every room, in words for an operator, with the exit code that scripts see."""

from __future__ import annotations

import errno

from services.cli.console import FAILED, UNREACHABLE, USAGE, Told

_PREFIXES = {"MailSettings": "ALGASYNC_SMTP", "Outgoing": "ALGASYNC_WEBHOOK"}
"""Settings that rooms read for themselves, and how their variables begin."""


def in_words(error: Exception) -> Told | None:
    """What to tell; None for a mistake of ours, which deserves its traceback."""
    if isinstance(error, Told):
        return error
    return _of_rooms(error) or _of_servers(error) or _of_machine(error)


def _of_rooms(error: Exception) -> Told | None:
    from pydantic import ValidationError

    from messages.errors import BadMessage
    from services.connections.vault import VaultError
    from services.ledger.attempts import CannotChange
    from services.quickbooks.errors import QuickBooksError
    from services.refusals import Refusal

    if isinstance(error, Refusal):
        exit_code = FAILED if error.kind == "conflict" else USAGE
        return Told(error.sentence, code=error.code, field=error.field, exit_code=exit_code)
    if isinstance(error, VaultError):
        return Told(str(error), code="vault", field="ALGASYNC_SECRET_KEYS", exit_code=USAGE)
    if isinstance(error, CannotChange):
        return Told(str(error), code="cannot_change")
    if isinstance(error, QuickBooksError):
        return _of_quickbooks(error)
    if isinstance(error, BadMessage):
        return Told(str(error), code=error.reason, exit_code=USAGE)
    if isinstance(error, ValidationError) and error.title == "Configuration":
        return _settings(error)
    if isinstance(error, ValidationError) and error.title in _PREFIXES:
        first = error.errors()[0]
        variable = "_".join([_PREFIXES[error.title], *(str(part).upper() for part in first["loc"][:1])])
        said = first["msg"].removeprefix("Value error, ")
        return Told(said, code="invalid_setting", field=variable, exit_code=USAGE)
    return None


def _of_quickbooks(error: object) -> Told:
    from services.quickbooks.errors import AuthFailed, NotSent, QuickBooksError, Refused, Throttled

    assert isinstance(error, QuickBooksError)
    tid = f" (intuit_tid {error.intuit_tid})" if error.intuit_tid else ""
    match error:
        case AuthFailed():
            next_, code = "Reconnect the company: algasync connections connect --tenant ...", "reconnect"
        case Throttled():
            next_, code = f"Try again in {error.retry_after:.0f} seconds.", "throttled"
        case Refused():
            next_, code = "It changed nothing; mend what it names and try again.", "quickbooks_refused"
        case NotSent():
            next_, code = "Check the network and ALGASYNC_QUICKBOOKS_API_URL, then try again.", "not_sent"
        case _:
            next_, code = "Try again; whether it took effect is found out first.", "quickbooks_unavailable"
    exit_code = FAILED if isinstance(error, (AuthFailed, Refused)) else UNREACHABLE
    return Told(f"QuickBooks: {error}{tid}. {next_}", code=code, exit_code=exit_code)


def _settings(error: object) -> Told:
    from pydantic import ValidationError

    from services.configuration import Configuration

    assert isinstance(error, ValidationError)
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    field = Configuration.model_fields.get(name)
    variable = (field.alias if field is not None and field.alias else None) or (
        name if name.isupper() else f"ALGASYNC_{name.upper()}"
    )
    said = first["msg"].removeprefix("Value error, ")
    return Told(said, code="invalid_setting", field=variable, exit_code=USAGE)


def _of_servers(error: Exception) -> Told | None:
    import sqlalchemy.exc
    from alembic.util import CommandError
    from kombu.exceptions import OperationalError as BrokerError

    from deploy.local import NotRunningError, StartError

    if isinstance(error, CommandError):
        return Told(
            f"{error}: this program does not know it. Nothing was changed. A database of a newer program needs that"
            " program or a later one; a revision of your own must be one of this program's",
            code="unknown_revision",
        )
    if isinstance(error, sqlalchemy.exc.ProgrammingError) and _sqlstate(error) in {"42P01", "3F000", "42704"}:
        return Told(
            "The database is reached, but it is not (fully) set up. Run: algasync migrate",
            code="not_migrated",
        )
    if isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)):
        said = " ".join(str(error.orig or error).split())
        if _sqlstate(error) in {"22023", "42704"} and "role" in said:
            return Told(f"{said}. Run: algasync migrate", code="not_migrated")
        return Told(
            f"PostgreSQL does not answer: {said} Nothing was changed. Check DATABASE_URL, or that the server runs.",
            code="database_unreachable",
            exit_code=UNREACHABLE,
        )
    if isinstance(error, BrokerError):
        return Told(
            f"RabbitMQ does not answer: {error}. Nothing was changed. Check BROKER_URL, or that the server runs.",
            code="broker_unreachable",
            exit_code=UNREACHABLE,
        )
    if isinstance(error, (NotRunningError, StartError)):
        return Told(str(error), code="server_down", exit_code=UNREACHABLE)
    return None


def _of_machine(error: Exception) -> Told | None:
    """A port or a file that cannot be had."""
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.EADDRINUSE:
        return Told(
            "the port is taken by another process; name a free one, or 0 for any",
            code="port_taken",
            field="port",
            exit_code=USAGE,
        )
    if error.filename is not None:
        return Told(
            f"{error.filename} cannot be used: {error.strerror}", code="file_unusable", exit_code=USAGE
        )
    return None


def _sqlstate(error: object) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)
