"""OAuth 2.0 with Intuit: where to send the admin, and codes and refresh tokens into token sets.

Intuit changes the refresh token about daily and the old one dies, so what comes back must be stored before it is
used. An answer that does not come leaves open whether the token was changed: that is `UnknownOutcome`.
https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0
"""

from __future__ import annotations

import base64
import datetime
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import requests
import structlog
from oauthlib.oauth2 import OAuth2Error
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from services.quickbooks import body, faults
from services.quickbooks.environments import Environment
from services.quickbooks.errors import AuthFailed, QuickBooksError, Refused, Throttled, UnknownOutcome
from services.quickbooks.reply import Answer
from services.quickbooks.transport import Deadline, Timeouts, exchange, failed, pooled_session

SCOPE = "com.intuit.quickbooks.accounting"
"""Reads and writes the books; Intuit has no scope for reading only."""

# Both write whole tokens at DEBUG.
logging.getLogger("requests_oauthlib").setLevel(logging.INFO)
logging.getLogger("oauthlib").setLevel(logging.INFO)

_log = structlog.get_logger()

_REASONS = {
    "invalid_grant": "the authorization is used up, expired or revoked; connect the company to QuickBooks again",
    "invalid_client": "Intuit does not accept the app's client id and secret; check them for this environment",
    "unauthorized_client": "Intuit does not accept the app's client id and secret; check them for this environment",
}


@dataclass(frozen=True, slots=True)
class App:
    """An Intuit app's keys; `redirect_uri` exactly as registered at Intuit."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class TokenSet:
    """What Intuit hands out, with the instants at which each part ends.

    `refresh_expires_at` moves with every refresh (about 100 days ahead), `refresh_hard_expires_at` never moves:
    then an admin must connect again. It is None when Intuit does not say.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access_expires_at: datetime.datetime
    refresh_expires_at: datetime.datetime
    refresh_hard_expires_at: datetime.datetime | None = None


class OAuth:
    """Talks to Intuit's authorization server for one app in one environment. Safe to share between threads."""

    def __init__(self, app: App, environment: Environment, timeouts: Timeouts | None = None) -> None:
        self._app = app
        self._environment = environment
        self._timeouts = timeouts or Timeouts(connect=5, read=30, total=40)

    def authorize_url(self, state: str) -> str:
        """Return where to send the admin's browser; `state` comes back with the code and must be checked."""
        with self._session(scope=SCOPE) as session:
            url, _ = session.authorization_url(_as_https(self._environment.authorize), state=state)
        return _as_given(url, self._environment.authorize)

    def exchange_code(self, code: str) -> TokenSet:
        """Trade the callback's code, good once and briefly, for the first token set."""
        return self._tokens(
            "exchange code",
            lambda session, url, asked: session.fetch_token(url, code=code, **asked),
        )

    def refresh(self, refresh_token: str) -> TokenSet:
        """Trade a refresh token for a new set; its refresh token may be another one: store it before use.

        Raises AuthFailed when the connection is over ("invalid_grant"), UnknownOutcome when no clear answer came:
        then the old token may be dead already.
        """
        return self._tokens(
            "refresh",
            lambda session, url, asked: session.refresh_token(url, refresh_token=refresh_token, **asked),
        )

    def revoke(self, token: str) -> None:
        """Revoke a refresh token, and with it the connection. One that Intuit no longer knows is revoked already."""
        with pooled_session(self._environment, size=1) as session:
            keys = f"{self._app.client_id}:{self._app.client_secret}".encode()
            answer = exchange(
                session,
                "POST",
                self._environment.revoke,
                {
                    "Authorization": f"Basic {base64.b64encode(keys).decode()}",
                    "Accept": "application/json",
                    "Content-Type": "application/json",
                },
                body.dump({"token": token}).encode(),
                self._timeouts,
                Deadline(self._timeouts.total),
            )
        _log.info("quickbooks oauth", step="revoke", status=answer.status, intuit_tid=answer.intuit_tid)
        if answer.status not in {200, 400}:
            raise _refusal("revoke", answer)

    def _tokens(
        self, step: str, ask: Callable[[OAuth2Session, str, dict[str, Any]], Mapping[str, Any]]
    ) -> TokenSet:
        # Lifetimes count from before the question: a token must never seem to live longer than it does.
        asked_at = datetime.datetime.now(datetime.UTC)
        seen: list[Answer] = []

        def look(response: requests.Response) -> requests.Response:
            lowered = {name.lower(): value for name, value in response.headers.items()}
            seen.append(Answer(response.status_code, lowered, response.content))
            if response.status_code != 200:
                raise _refusal(step, seen[0])
            return response

        with self._session() as session:
            session.register_compliance_hook("access_token_response", look)
            session.register_compliance_hook("refresh_token_response", look)
            asked = {
                "auth": HTTPBasicAuth(self._app.client_id, self._app.client_secret),
                "timeout": (self._timeouts.connect, self._timeouts.read),
                "headers": {
                    "Accept": "application/json",
                    "Content-Type": "application/x-www-form-urlencoded",
                    "x-include-refresh-token-hard-expires-in": "true",
                },
            }
            try:
                told = ask(session, _as_https(self._environment.token), asked)
                tokens = _token_set(told, asked_at)
            except requests.RequestException as failure:
                raise failed(failure) from failure
            except (OAuth2Error, KeyError, TypeError, ValueError, OverflowError) as failure:
                raise UnknownOutcome(
                    f"Intuit answered the {step} with HTTP 200 but without tokens ({type(failure).__name__})",
                    status=200,
                    intuit_tid=seen[0].intuit_tid if seen else None,
                ) from failure
        _log.info("quickbooks oauth", step=step, status=200, intuit_tid=seen[0].intuit_tid)
        return tokens

    def _session(self, scope: str | None = None) -> OAuth2Session:
        session = OAuth2Session(self._app.client_id, redirect_uri=self._app.redirect_uri, scope=scope)
        token = urlsplit(self._environment.token)
        if token.scheme == "http":
            session.mount(f"https://{token.netloc}/", _PlainHTTP())
        return session


class _PlainHTTP(HTTPAdapter):
    """Speaks http to a sandbox whose address was written as https.

    oauthlib refuses http even to this machine, and its switch is an environment variable for the whole process.
    `Environment` has already refused http where it would be unsafe.
    """

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.url = "http" + str(request.url).removeprefix("https")
        return super().send(request, *args, **kwargs)


def discover(environment: Environment, timeouts: Timeouts | None = None) -> Environment:
    """Return the environment with the addresses that Intuit publishes for it now.

    Raises NotSent or UnknownOutcome when the document cannot be had, ValueError when an address in it is unsafe.
    """
    limits = timeouts or Timeouts(connect=5, read=10, total=15)
    with pooled_session(environment, size=1) as session:
        accept = {"Accept": "application/json"}
        answer = exchange(session, "GET", environment.discovery, accept, b"", limits, Deadline(limits.total))
    try:
        found = body.load(answer.text)
        return replace(
            environment,
            authorize=found["authorization_endpoint"],
            token=found["token_endpoint"],
            revoke=found["revocation_endpoint"],
            userinfo=found["userinfo_endpoint"],
        )
    except (KeyError, TypeError) as failure:
        raise UnknownOutcome(
            "Intuit's discovery document lacks an address", status=answer.status, intuit_tid=answer.intuit_tid
        ) from failure


def _token_set(told: Mapping[str, Any], asked_at: datetime.datetime) -> TokenSet:
    def ends(name: str) -> datetime.datetime:
        return asked_at + datetime.timedelta(seconds=int(told[name]))

    return TokenSet(
        access_token=told["access_token"],
        refresh_token=told["refresh_token"],
        access_expires_at=ends("expires_in"),
        refresh_expires_at=ends("x_refresh_token_expires_in"),
        refresh_hard_expires_at=(
            ends("x_refresh_token_hard_expires_in") if "x_refresh_token_hard_expires_in" in told else None
        ),
    )


def _refusal(step: str, answer: Answer) -> QuickBooksError:
    """Return what an answer other than 200 of the authorization server means."""
    status, tid = answer.status, answer.intuit_tid
    if status == 429:
        return Throttled(
            f"Intuit throttles the {step}", retry_after=answer.retry_after, status=status, intuit_tid=tid
        )
    try:
        reason = str(body.load(answer.text)["error"])
    except (KeyError, TypeError, ValueError):
        reason = "invalid_client" if status == 401 else ""
    if reason in _REASONS and 400 <= status < 500:
        return AuthFailed(
            f"Intuit refused the {step} ({reason}): {_REASONS[reason]}",
            reason=reason,
            status=status,
            intuit_tid=tid,
        )
    if 400 <= status < 500:
        fault = faults.from_status(status)
        return Refused(
            f"Intuit refused the {step}: HTTP {status}", fault=fault, status=status, intuit_tid=tid
        )
    return UnknownOutcome(f"Intuit answered the {step} with HTTP {status}", status=status, intuit_tid=tid)


def _as_https(url: str) -> str:
    return "https" + url.removeprefix("http") if url.startswith("http:") else url


def _as_given(url: str, pattern: str) -> str:
    return "http" + url.removeprefix("https") if pattern.startswith("http:") else url
