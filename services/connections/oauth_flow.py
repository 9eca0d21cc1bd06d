"""To Intuit and back: an admin's browser goes out with a single-use state and comes back with a company.

    begin    the PSA's button: a ticket, good for ten minutes
    follow   a browser opens the ticket: it gets a cookie and goes to Intuit with a state bound to that cookie
    finish   Intuit sends the browser back: state, cookie and tenant must fit, then the code becomes tokens

https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from services.connections import companies, credentials, edition, token_store, tokens
from services.connections.companies import Attention, Company
from services.connections.intuit import Intuit
from services.database import Database
from services.ledger import timeline
from services.quickbooks.errors import QuickBooksError
from services.quickbooks.oauth import OAuth
from services.refusals import Refusal, conflict, invalid

MINUTES = 10  # how long a ticket, and then a state, is good

SUCCESS = "success"

FAILURES = {
    "access_denied": "The connection was cancelled on Intuit's page. Click Connect QuickBooks to start again.",
    "missing_params": "Intuit's answer lacks the code, the company or the state. Start the connection again.",
    "invalid_state": "This answer does not belong to a connection started in this browser, or it was used before."
    " Start with the Connect QuickBooks button, not from a saved or shared link, and finish in the same browser.",
    "session_expired": f"More than {MINUTES} minutes passed at Intuit's page. Start the connection again.",
    "tenant_mismatch": "This browser started a connection for another tenant. Start again from the right one.",
    "config_missing": "The Intuit app's client id and secret are not complete. Save both, then connect again.",
    "token_exchange_failed": "Intuit did not hand out tokens. Check that client id, client secret, redirect URI"
    " and environment belong to the same Intuit app, then connect again.",
    "oauth_failed": "The connection could not be completed. Try again; if it persists, tell your operator.",
    "realm_in_use": "This QuickBooks company is connected to another tenant. Disconnect it there first.",
    "realm_mismatch": "Another company was approved than the one to reconnect. Approve the same company, or"
    " connect the other one as an additional company.",
    "environment_mismatch": "A company of the other Intuit environment is still connected; sandbox and"
    " production never mix. Disconnect it first.",
}
"""What can go wrong on the way back, a sentence for the admin each. Intuit's own errors come through by their code."""

_INTUIT_ERROR = re.compile(r"[a-z_]{1,40}")

_INSERT = text(
    """INSERT INTO connect_attempt (secret_hash, tenant_id, return_to, company_id, actor, expires_at)
       VALUES (:hash, :tenant, :return_to, :company, :actor, clock_timestamp() + make_interval(mins => :minutes))
       RETURNING expires_at"""
)
_FORGET = text(
    "DELETE FROM connect_attempt WHERE tenant_id = :tenant AND expires_at < clock_timestamp() - interval '1 day'"
)
_PEEK = text(
    """SELECT actor, company_id, expires_at FROM connect_attempt
        WHERE secret_hash = :hash AND browser_hash IS NULL AND expires_at > clock_timestamp()"""
)
_FOLLOW = text(
    """UPDATE connect_attempt
          SET secret_hash = :state, browser_hash = :browser,
              expires_at = clock_timestamp() + make_interval(mins => :minutes)
        WHERE secret_hash = :hash AND browser_hash IS NULL AND expires_at > clock_timestamp()"""
)
_RETURNED = text(
    """SELECT tenant_id, browser_hash, return_to, company_id, actor, used_at IS NOT NULL AS used,
              expires_at <= clock_timestamp() AS expired
         FROM connect_attempt WHERE secret_hash = :hash AND browser_hash IS NOT NULL FOR UPDATE"""
)
_USED = text("UPDATE connect_attempt SET used_at = clock_timestamp() WHERE secret_hash = :hash")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ticket:
    """Lets one browser start connecting. `secret` goes into the link behind the PSA's button."""

    secret: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Departure:
    """Where the browser goes, and the cookie that it must bring back."""

    authorize_url: str = field(repr=False)
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: `code` is "success" or a failure's; `return_to` is "" when the browser cannot be sent on."""

    code: str
    sentence: str
    return_to: str = ""
    company: Company | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """What Intuit's redirect carried, and the cookie of the browser it came with."""

    state: str = field(repr=False)
    code: str = field(repr=False)
    realm_id: str
    error: str
    cookie: str = field(repr=False)


class _Claim(TypedDict):
    tenant: str
    environment: str
    realm_id: str
    actor: str


class _Failed(Exception):
    def __init__(self, code: str, *, sentence: str = "", return_to: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.sentence = sentence or FAILURES[code]
        self.return_to = return_to


def begin(
    connection: Connection,
    intuit: Intuit,
    tenant: str,
    *,
    actor: str,
    return_to: str = "",
    company_id: UUID | None = None,
) -> Ticket:
    """Open the way for one browser; with `company_id` to reconnect just that company.

    Raises `Refusal`: `not_entitled` without the edition, `config_missing` without credentials or a redirect URI for
    Intuit, or naming the field at fault.
    """
    edition.require(connection, tenant)
    credentials.resolve(connection, intuit.vault, intuit.application, tenant)
    if intuit.hindrance is not None:
        raise conflict("config_missing", intuit.hindrance)
    if return_to and not intuit.application.may_return_to(return_to):
        raise invalid(
            "return_to",
            "this address is not on the operator's list of places to return to (ALGASYNC_RETURN_TO)",
            code="return_to_not_allowed",
        )
    if company_id is not None:
        expected = companies.get(connection, company_id)
        if expected.environment != intuit.environment.name:
            raise conflict(
                "environment_mismatch",
                f"{expected.label} belongs to {expected.environment}, and this installation talks to"
                f" {intuit.environment.name}; sandbox and production never mix",
            )
    connection.execute(_FORGET, {"tenant": tenant})
    secret = _secret(tenant)
    values = {
        "hash": _hash(secret),
        "tenant": tenant,
        "return_to": return_to,
        "company": company_id,
        "actor": actor,
        "minutes": MINUTES,
    }
    return Ticket(secret, connection.execute(_INSERT, values).scalar_one())


def tenant_of(secret: str) -> str | None:
    """The tenant that a ticket, state or cookie claims to be of; None when it is none of ours."""
    encoded, separator, random = secret.partition(".")
    if not separator or not random:
        return None
    try:
        return base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8)).decode() or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def opener(connection: Connection, ticket: str) -> str | None:
    """Who opened a ticket that is still good; None otherwise."""
    row = connection.execute(_PEEK, {"hash": _hash(ticket)}).one_or_none()
    return row.actor if row else None


def follow(connection: Connection, intuit: Intuit, ticket: str) -> Departure:
    """Send the browser that opened the ticket to Intuit. A ticket is good once; raises `Refusal` otherwise."""
    tenant = tenant_of(ticket) or ""
    state, cookie = _secret(tenant), _secret(tenant)
    values = {
        "hash": _hash(ticket),
        "state": _hash(state),
        "browser": _hash(cookie),
        "minutes": MINUTES,
    }
    if not connection.execute(_FOLLOW, values).rowcount:
        raise conflict(
            "ticket_used",
            f"this link was used before or is older than {MINUTES} minutes;"
            " go back and click Connect QuickBooks again",
        )
    return Departure(intuit.oauth(connection, tenant).authorize_url(state), cookie)


def finish(
    database: Database,
    intuit: Intuit,
    attention: Attention,
    returned: Returned,
    *,
    connected: Callable[[Company], Company],
) -> Outcome:
    """Judge what came back and connect the company. Never raises: every end has a code and a sentence.

    `connected` is called after the commit and returns the company with its facts; failing it undoes nothing.
    """
    return_to = ""
    try:
        attempt = _admitted(database, returned)
        return_to = attempt.return_to
        _check_answer(returned)
        company = _connect(database, intuit, attention, returned, attempt)
    except _Failed as failed:
        _log.warning("connect_failed", code=failed.code)
        return Outcome(failed.code, failed.sentence, return_to or failed.return_to)
    except Exception:
        _log.exception("connect_failed", code="oauth_failed")
        return Outcome("oauth_failed", FAILURES["oauth_failed"], return_to)
    try:
        company = connected(company)
    except Exception as later:  # the daily reading makes up for it
        _log.warning("facts_not_read", company=str(company.company_id), because=str(later))
    return Outcome(SUCCESS, f"{company.label} is connected.", return_to, company)


def disconnect(
    database: Database, intuit: Intuit, attention: Attention, tenant: str, company_id: UUID, actor: str
) -> bool:
    """Disconnect one company and tell Intuit; whether Intuit confirmed. App credentials, links, mappings stay.

    Raises `Refusal` when it does not exist or is disconnected already.
    """
    oauth: OAuth | None = None
    with database.transaction(tenant) as connection:
        tokens.lock(connection, company_id)  # a refresh under way first stores what must be revoked
        company = companies.get(connection, company_id)
        encrypted = companies.disconnect(connection, company_id, actor, attention)
        if company.environment == intuit.environment.name:
            try:
                oauth = intuit.oauth(connection, tenant)
            except Refusal as refused:
                _log.warning("not_revoked", company=str(company_id), because=refused.code)
    if encrypted is None or oauth is None:
        return False
    try:
        oauth.revoke(intuit.vault.open(encrypted))
    except QuickBooksError as failure:
        _log.warning("not_revoked", company=str(company_id), because=str(failure))
        return False
    with database.transaction(tenant) as connection:
        timeline.append(connection, tenant, "company", str(company_id), actor, "revoked", {})
    return True


def _admitted(database: Database, returned: Returned) -> Any:
    """The attempt that state and cookie belong to, used up from now on."""
    if not returned.state:
        raise _Failed("missing_params")
    tenant, browser = tenant_of(returned.state), tenant_of(returned.cookie)
    if tenant is None or browser is None:
        raise _Failed("invalid_state")
    if tenant != browser:
        raise _Failed("tenant_mismatch")
    with database.transaction(tenant) as connection:
        values = {"hash": _hash(returned.state)}
        attempt = connection.execute(_RETURNED, values).one_or_none()
        if attempt is None or not hmac.compare_digest(attempt.browser_hash, _hash(returned.cookie)):
            raise _Failed("invalid_state")
        if attempt.used:
            raise _Failed("invalid_state", return_to=attempt.return_to)
        if attempt.expired:
            raise _Failed("session_expired", return_to=attempt.return_to)
        connection.execute(_USED, values)
    return attempt


def _check_answer(returned: Returned) -> None:
    if returned.error:
        word = _INTUIT_ERROR.fullmatch(returned.error) is not None and returned.error != SUCCESS
        code = returned.error if word else "oauth_failed"
        told = FAILURES.get(code) or f"Intuit refused the connection ({code}). Start it again."
        raise _Failed(code, sentence=told)
    if not returned.code or not returned.realm_id:
        raise _Failed("missing_params")


def _connect(
    database: Database, intuit: Intuit, attention: Attention, returned: Returned, attempt: Any
) -> Company:
    tenant = attempt.tenant_id
    claimed = _Claim(
        tenant=tenant,
        environment=intuit.environment.name,
        realm_id=returned.realm_id,
        actor=attempt.actor,
    )
    with database.transaction(tenant) as connection:
        try:
            oauth = intuit.oauth(connection, tenant)
        except Refusal as refused:
            raise _Failed("config_missing") from refused
        if attempt.company_id is not None:
            expected = companies.get(connection, attempt.company_id)
            if expected.realm_id != returned.realm_id:
                raise _Failed("realm_mismatch")
        _rehearse(connection, claimed)
    try:
        fresh = oauth.exchange_code(returned.code)
    except QuickBooksError as refused:
        _log.warning("token_exchange_failed", tenant=tenant, because=str(refused))
        raise _Failed("token_exchange_failed") from refused
    with database.transaction(tenant) as connection:
        try:
            company = companies.activate(connection, **claimed, attention=attention)
        except Refusal as refused:
            raise _Failed(refused.code) from refused
        token_store.put(connection, intuit.vault, tenant, company.company_id, fresh)
    return company


def _rehearse(connection: Connection, claimed: _Claim) -> None:
    """Find out whether the company can be had before its code is redeemed.

    Redeeming ends the app's earlier authorization of that company, which may be another tenant's.
    """
    try:
        with connection.begin_nested() as savepoint:
            companies.claim(connection, **claimed)
            savepoint.rollback()
    except Refusal as refused:
        raise _Failed(refused.code) from refused


def _secret(tenant: str) -> str:
    """A random value that says its tenant, so that it is looked up under that tenant's row-level security."""
    return f"{base64.b32encode(tenant.encode()).decode().rstrip('=').lower()}.{secrets.token_urlsafe(32)}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
