"""Tokens that the PSA signs: who acts, and what that person may do, for one request each.

A tenant's PSA holds a private key; here is the public one, with the algorithm it is pinned to, so a token can choose
neither. https://www.rfc-editor.org/rfc/rfc7519 and, for what is checked, https://www.rfc-editor.org/rfc/rfc8725
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sqlalchemy import Connection, text

from services.api.keys import Caller, Scope, named
from services.ledger import timeline
from services.refusals import conflict, invalid, missing

AUDIENCE: Final = "algasync"
LONGEST: Final = timedelta(minutes=5)
"""From `iat` to `exp`, at most."""
LEEWAY: Final = timedelta(seconds=30)
"""By which the PSA's clock may differ from ours."""
CLAIMS: Final = ("iss", "aud", "sub", "iat", "exp", "jti", "tenant", "billing_settings")

PERMISSIONS: Final[Mapping[str, Scope]] = {"read": Scope.READ, "update": Scope.MANAGE}
"""What AlgaPSA's permission `billing_settings` allows here."""

_COLUMNS: Final = """signing_key_id, tenant_id, name, issuer, algorithm, public_key, created_at, created_by, expires_at,
                     revoked_at, last_used_at, per_minute"""
_INSERT = text(
    f"""INSERT INTO signing_key (tenant_id, name, issuer, algorithm, public_key, created_by, per_minute)
        VALUES (:tenant, :name, :issuer, :algorithm, :public_key, :actor, :per_minute)
        RETURNING {_COLUMNS}"""  # noqa: S608 - constant columns
)
_LIST = text(
    f"SELECT {_COLUMNS} FROM signing_key WHERE tenant_id = :tenant ORDER BY created_at, signing_key_id"  # noqa: S608 - constant columns
)
_GET = text(f"SELECT {_COLUMNS} FROM signing_key WHERE signing_key_id = :key FOR UPDATE")  # noqa: S608 - constant columns
_REVOKE = text("UPDATE signing_key SET revoked_at = clock_timestamp() WHERE signing_key_id = :key")
_EXPIRE = text(
    """UPDATE signing_key SET expires_at = least(expires_at, clock_timestamp() + CAST(:grace AS interval))
        WHERE signing_key_id = :key"""
)
_FIND = text("SELECT * FROM signing_key_find_v1(:kid)")
# What was spent in the last moments before a crash may be forgotten by it: no disk is waited for.
_SPEND = text(
    """SELECT token_spend_v1(:kid, :token, :until), set_config('synchronous_commit', 'off', true)"""
)
_FORGET = text("DELETE FROM token_spent WHERE ends_at < statement_timestamp() - CAST(:leeway AS interval)")


class BadToken(Exception):
    """The token says nothing that counts here. `code` is a stable word, the message says why and what to do."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key of a tenant's PSA. Its id is the `kid` of every token that it signs."""

    signing_key_id: UUID
    tenant_id: str
    name: str
    issuer: str
    algorithm: str
    public_key: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    per_minute: int | None


def is_token(secret: str) -> bool:
    """Whether this has the form of a signed token; API keys have not."""
    return secret.count(".") == 2


def read(connection: Connection, token: str) -> Caller:
    """The caller that a token names, in a transaction without tenant; uses the token up. Raises `BadToken`."""
    kid = _kid(token)
    key = connection.execute(_FIND, {"kid": kid}).one_or_none()
    if key is None:
        raise BadToken(
            "unknown_signing_key", f"no signing key {kid} is known, or it has ended; register the PSA's"
        )
    claims = _claims(token, key.algorithm, key.public_key, key.issuer)
    if claims["tenant"] != key.tenant_id:
        raise BadToken(
            "wrong_tenant", f"the token is for tenant {claims['tenant']!r}, its key belongs to another"
        )
    ends = datetime.fromtimestamp(claims["exp"], UTC)
    if ends - datetime.fromtimestamp(claims["iat"], UTC) > LONGEST:
        raise BadToken(
            "token_too_long", f"a token lives at most {LONGEST}, from iat to exp; sign one for each request"
        )
    values = {"kid": kid, "token": claims["jti"], "until": ends}
    if not connection.execute(_SPEND, values).one()[0]:
        raise BadToken(
            "token_used", "this token was used before; sign one for each request, with a jti of its own"
        )
    scopes = frozenset(PERMISSIONS[one] for one in claims["billing_settings"] if one in PERMISSIONS)
    return Caller(kid, key.tenant_id, key.name, scopes, user=claims["sub"], per_minute=key.per_minute)


def trust(
    connection: Connection,
    tenant: str,
    *,
    name: str,
    issuer: str,
    algorithm: str,
    public_key: str,
    actor: str,
    per_minute: int | None = None,
) -> SigningKey:
    """Take the public key of a tenant's PSA. Raises `Refusal` naming the field."""
    if not issuer.strip() or len(issuer) > 200 or not issuer.isprintable():
        raise invalid("issuer", "issuer is what the PSA writes into `iss`: 1 to 200 characters")
    values = {
        "tenant": tenant,
        "name": named(name),
        "issuer": issuer.strip(),
        "algorithm": algorithm,
        "public_key": _checked(algorithm, public_key),
        "actor": actor,
        "per_minute": per_minute,
    }
    key = SigningKey(*connection.execute(_INSERT, values).one())
    _note(connection, key, actor, "trusted", {"name": key.name, "issuer": key.issuer, "algorithm": algorithm})
    return key


def distrust(
    connection: Connection, key_id: UUID, *, actor: str, grace: timedelta = timedelta()
) -> SigningKey:
    """End a public key, at once or after a grace period in which its successor takes over. Raises `Refusal`."""
    row = connection.execute(_GET, {"key": key_id}).one_or_none()
    if row is None:
        raise missing(f"there is no signing key {key_id}", code="unknown_key")
    key = SigningKey(*row)
    if key.revoked_at is not None:
        raise conflict("key_revoked", f"signing key {key.name} was revoked before")
    connection.execute(_EXPIRE if grace else _REVOKE, {"key": key_id, "grace": grace})
    _note(connection, key, actor, "distrusted", {"grace": str(grace)})
    return SigningKey(*connection.execute(_GET, {"key": key_id}).one())


def listed(connection: Connection, tenant: str) -> list[SigningKey]:
    """All public keys a tenant's PSA ever had, oldest first."""
    return [SigningKey(*row) for row in connection.execute(_LIST, {"tenant": tenant})]


def forget(connection: Connection) -> int:
    """Drop used tokens that have ended; returns how many. For the fleet's upkeep."""
    return connection.execute(_FORGET, {"leeway": LEEWAY * 2}).rowcount


def _kid(token: str) -> UUID:
    try:
        return UUID(str(jwt.get_unverified_header(token).get("kid")))
    except (jwt.InvalidTokenError, ValueError):
        raise BadToken("bad_token", "the token's header names no signing key of ours in `kid`") from None


def _claims(token: str, algorithm: str, public_key: str, issuer: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            public_key,
            algorithms=[algorithm],
            audience=AUDIENCE,
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": list(CLAIMS), "strict_aud": True},
        )
    except jwt.ExpiredSignatureError:
        raise BadToken("token_expired", "the token has expired; sign one for each request") from None
    except jwt.InvalidTokenError as wrong:
        raise BadToken("bad_token", f"the token is not accepted: {wrong}") from None
    permissions = claims["billing_settings"]
    if not isinstance(permissions, list) or not all(isinstance(one, str) for one in permissions):
        raise BadToken("bad_token", 'billing_settings is a list out of "read" and "update"')
    for name in ("sub", "jti", "tenant"):
        value = claims[name]
        if not isinstance(value, str) or not 1 <= len(value) <= 200 or not value.isprintable():
            raise BadToken("bad_token", f"{name} is a text of 1 to 200 printable characters")
    if not all(isinstance(claims[name], int) and 0 < claims[name] < 2**40 for name in ("iat", "exp")):
        raise BadToken("bad_token", "iat and exp are whole seconds since 1970")
    return claims


def _checked(algorithm: str, public_key: str) -> str:
    """The key in PEM, if it is a public one of the algorithm's kind and strong enough."""
    try:
        key = load_pem_public_key(public_key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise invalid("public_key", "this is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    fits = {
        "EdDSA": isinstance(key, Ed25519PublicKey),
        "ES256": isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1),
        "RS256": isinstance(key, RSAPublicKey) and key.key_size >= 2048,
    }
    if algorithm not in fits:
        raise invalid("algorithm", f"algorithm is one of {', '.join(fits)}, not {algorithm!r}")
    if not fits[algorithm]:
        raise invalid(
            "public_key", f"this is no key for {algorithm} (Ed25519, P-256, or RSA of 2048 bits or more)"
        )
    return public_key


def _note(connection: Connection, key: SigningKey, actor: str, action: str, facts: dict[str, object]) -> None:
    timeline.append(connection, key.tenant_id, "signing_key", str(key.signing_key_id), actor, action, facts)
