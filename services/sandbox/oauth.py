"""OAuth 2.0 as Intuit runs it: codes used once, access tokens of an hour, refresh tokens whose value rotates.

https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from services.sandbox.clock import DAY, Clock
from services.sandbox.settings import App
from services.sandbox.switches import Switches

SCOPES = frozenset(
    (
        "com.intuit.quickbooks.accounting",
        "com.intuit.quickbooks.payment",
        "openid",
        "profile",
        "email",
        "phone",
        "address",
    )
)
CODE_SECONDS = 600
ROTATION_SECONDS = DAY
HARD_LIFETIME_SECONDS = 5 * 365 * DAY


class TokenRefusal(Exception):
    """What the token endpoint answers instead of tokens: `error`, `error_description`."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status


@dataclass(slots=True)
class Grant:
    """One user's permission for one app and one company, and the tokens made from it."""

    client_id: str
    realm: str
    scopes: str
    refresh_token: str
    rotated_at: float
    refresh_expires_at: float
    hard_expires_at: float
    old: dict[str, float] = field(default_factory=dict)  # earlier refresh tokens -> when replaced
    access: dict[str, float] = field(default_factory=dict)  # access tokens -> expiry
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code on its way through the browser."""

    client_id: str
    realm: str
    redirect_uri: str
    scopes: str
    expires_at: float


class Authority:
    """Apps, codes and grants. `switches_of` gives the switches of a realm; `changed` hears of every change."""

    def __init__(
        self, clock: Clock, switches_of: Callable[[str], Switches], changed: Callable[[Grant], None]
    ) -> None:
        self.clock = clock
        self._switches_of = switches_of
        self._changed = changed
        self.apps: dict[str, App] = {}
        self.codes: dict[str, Code] = {}
        self.grants: list[Grant] = []
        self._by_access: dict[str, Grant] = {}
        self._by_refresh: dict[str, Grant] = {}
        self.stats: Counter[str] = Counter()

    def authorize(self, client_id: str, realm: str, redirect_uri: str, scopes: str) -> str:
        """A fresh single-use code."""
        code = "AB1" + secrets.token_hex(20)
        self.codes[code] = Code(client_id, realm, redirect_uri, scopes, self.clock.now() + CODE_SECONDS)
        return code

    def authenticate(self, client_id: str, client_secret: str) -> App:
        """The app of these credentials, or `invalid_client`."""
        app = self.apps.get(client_id)
        if app is None or not secrets.compare_digest(app.client_secret.encode(), client_secret.encode()):
            raise TokenRefusal("invalid_client", "Invalid client credentials", 401)
        return app

    def redeem(self, app: App, code: str, redirect_uri: str) -> Grant:
        """Tokens for a code; a second use of a code is refused."""
        found = self.codes.pop(code, None)
        if found is None or found.client_id != app.client_id or found.expires_at < self.clock.now():
            raise TokenRefusal("invalid_grant", "Invalid authorization code")
        if found.redirect_uri != redirect_uri:
            raise TokenRefusal("invalid_grant", "redirect_uri does not match the authorization request")
        return self.grant(app.client_id, found.realm, found.scopes)

    def grant(self, client_id: str, realm: str, scopes: str) -> Grant:
        """A new grant with its first tokens; an earlier grant of the same app and company ends."""
        for earlier in self.grants:
            if (earlier.client_id, earlier.realm) == (client_id, realm) and not earlier.revoked:
                self.revoke(earlier)
        now = self.clock.now()
        switches = self._switches_of(realm)
        grant = Grant(
            client_id,
            realm,
            scopes,
            refresh_token="",
            rotated_at=now,
            refresh_expires_at=now + switches.refresh_token_seconds,
            hard_expires_at=now + HARD_LIFETIME_SECONDS,
        )
        self.grants.append(grant)
        self._rotate(grant)
        self._issue(grant)
        return grant

    def refresh(self, app: App, token: str) -> Grant:
        """New access token; the refresh token's value changes a day after its last change (or every time)."""
        self.stats["refreshes"] += 1
        grant = self._by_refresh.get(token)
        now = self.clock.now()
        if grant is None or grant.client_id != app.client_id:
            raise self._refused("Incorrect or invalid refresh token")
        switches = self._switches_of(grant.realm)
        if grant.revoked:
            raise self._refused("Token revoked")
        if now >= min(grant.refresh_expires_at, grant.hard_expires_at):
            raise self._refused("Token expired")
        if token != grant.refresh_token:
            if now - grant.old[token] > switches.old_refresh_token_grace_seconds:
                if switches.refresh_reuse_revokes_chain:
                    self.revoke(grant)
                raise self._refused("Incorrect or invalid refresh token")
        elif switches.rotate_on_every_refresh or now - grant.rotated_at >= ROTATION_SECONDS:
            self._rotate(grant)
        grant.refresh_expires_at = now + switches.refresh_token_seconds
        self._issue(grant)
        return grant

    def _refused(self, description: str) -> TokenRefusal:
        self.stats["invalid_grants"] += 1
        return TokenRefusal("invalid_grant", description)

    def revoke(self, grant: Grant) -> None:
        """End a grant: its refresh tokens and access tokens stop at once."""
        grant.revoked = True
        for token in grant.access:
            self._by_access.pop(token, None)
        grant.access.clear()
        self._changed(grant)

    def expire_access(self, grant: Grant) -> None:
        """Every access token of the grant is out of date now."""
        now = self.clock.now()
        grant.access.update(dict.fromkeys(grant.access, now))
        self._changed(grant)

    def expire_refresh(self, grant: Grant) -> None:
        """The refresh token is out of date now."""
        grant.refresh_expires_at = self.clock.now()
        self._changed(grant)

    def find(self, token: str) -> Grant | None:
        """The grant of a refresh or access token."""
        return self._by_refresh.get(token) or self._by_access.get(token)

    def bearer(self, token: str) -> Grant | None:
        """The grant of a valid access token."""
        grant = self._by_access.get(token)
        if grant is None or grant.access[token] <= self.clock.now():
            return None
        return grant

    def reply(self, grant: Grant, *, hard: bool) -> dict[str, Any]:
        """The token endpoint's answer, with the hard expiry when it was asked for."""
        now = self.clock.now()
        access, expires = next(reversed(grant.access.items()))
        answer: dict[str, Any] = {
            "token_type": "bearer",
            "access_token": access,
            "expires_in": round(expires - now),
            "refresh_token": grant.refresh_token,
            "x_refresh_token_expires_in": round(min(grant.refresh_expires_at, grant.hard_expires_at) - now),
        }
        if hard:
            answer["x_refresh_token_hard_expires_in"] = round(grant.hard_expires_at - now)
        return answer

    def _rotate(self, grant: Grant) -> None:
        now = self.clock.now()
        if grant.refresh_token:
            grant.old[grant.refresh_token] = now
        grant.refresh_token = "RT1-sandbox-" + secrets.token_hex(20)
        grant.rotated_at = now
        self._by_refresh[grant.refresh_token] = grant

    def _issue(self, grant: Grant) -> None:
        now = self.clock.now()
        for token in [token for token, expiry in grant.access.items() if expiry <= now]:
            del grant.access[token]
            del self._by_access[token]
        token = "AT1-sandbox-" + secrets.token_hex(32)
        grant.access[token] = now + self._switches_of(grant.realm).access_token_seconds
        self._by_access[token] = grant
        self._changed(grant)

    def restore(self, values: dict[str, Any]) -> None:
        """Put a grant back from its stored form; a later form of the same grant replaces an earlier one."""
        grant = Grant(**values)
        for known in [x for x in self.grants if x.refresh_token in (grant.refresh_token, *grant.old)]:
            self.grants.remove(known)
            for token in known.access:
                self._by_access.pop(token, None)
        self.grants.append(grant)
        for token in (grant.refresh_token, *grant.old):
            self._by_refresh[token] = grant
        for token in grant.access:
            self._by_access[token] = grant


def stored(grant: Grant) -> dict[str, Any]:
    """The form that `Authority.restore` reads."""
    return asdict(grant)
