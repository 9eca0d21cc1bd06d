"""Tokens that the PSA signs: who acts, what they may do, and every way in which a token does not count."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import text

from services.api import tokens
from services.api.tokens import SigningKey
from services.database import Database, Role
from services.ledger import timeline
from services.refusals import Refusal
from tests.support.api import OTHER, TENANT, Caller, Served

ISSUER = "https://psa.example"
PRIVATE = Ed25519PrivateKey.generate()


def pem(private: Any) -> str:
    """The public half of a key, as an operator registers it."""
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def register(
    served: Served, private: Any = PRIVATE, algorithm: str = "EdDSA", tenant: str = TENANT
) -> SigningKey:
    """Trust the PSA's key."""
    with served.fleet.transaction(tenant) as connection:
        return tokens.trust(
            connection,
            tenant,
            name="psa",
            issuer=ISSUER,
            algorithm=algorithm,
            public_key=pem(private),
            actor="operator",
        )


def signed(
    key: SigningKey,
    private: Any = PRIVATE,
    header: dict[str, Any] | None = None,
    algorithm: str = "",
    without: str = "",
    **changes: Any,
) -> str:
    """A token as the PSA makes it, with changes."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": "algasync",
        "sub": "dana",
        "tenant": TENANT,
        "iat": now,
        "exp": now + 60,
        "jti": str(uuid4()),
        "billing_settings": ["read", "update"],
    } | changes
    claims.pop(without, None)
    kid = {"kid": str(key.signing_key_id)}
    return jwt.encode(claims, private, algorithm=algorithm or key.algorithm, headers=kid | (header or {}))


def ask(
    served: Served, token: str, method: str = "GET", path: str = "/v1/pause", **more: Any
) -> requests.Response:
    """A request with a token."""
    return Caller(served.url, token)(method, path, **more)


@pytest.mark.parametrize(
    ("algorithm", "make"),
    [
        ("EdDSA", Ed25519PrivateKey.generate),
        ("ES256", lambda: generate_private_key(SECP256R1())),
        ("RS256", lambda: rsa_key(65537, 2048)),
    ],
)
def test_a_signed_token_acts_for_its_user(served: Served, algorithm: str, make: Callable[[], Any]) -> None:
    """The acting person stands in the timeline, beside the key and the address."""
    private = make()
    key = register(served, private, algorithm)
    answer = ask(served, signed(key, private), "PUT", "/v1/settings/poll_interval", json={"value": 20})
    assert answer.status_code == 200, answer.text
    with served.fleet.transaction(TENANT) as connection:
        entry = timeline.read(connection, TENANT, "setting", "tenant/poll_interval")[-1]
    assert entry.actor == "user:dana"
    assert (entry.details["via"]["user"], entry.details["via"]["key"]) == ("dana", str(key.signing_key_id))


@pytest.mark.parametrize(
    ("permissions", "reads", "writes"),
    [(["read"], 200, 403), (["update"], 200, 200), ([], 403, 403), (["delete"], 403, 403)],
)
def test_permissions_of_algapsa_decide(
    served: Served, permissions: list[str], reads: int, writes: int
) -> None:
    """billing_settings read sees, update changes, and nothing else opens anything."""
    key = register(served)
    token = signed(key, billing_settings=permissions)
    assert ask(served, token).status_code == reads
    token = signed(key, billing_settings=permissions)
    body = {"value": 20}
    assert ask(served, token, "PUT", "/v1/settings/poll_interval", json=body).status_code == writes
    token = signed(key, billing_settings=permissions)
    assert ask(served, token, "POST", "/v1/events", json=[]).status_code == 403
    token = signed(key, billing_settings=permissions)
    assert ask(served, token, "PUT", "/v1/settings/entitled", json={"value": True}).status_code == 403


NOW = time.time
WRONG: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "somebody"},
    "several audiences": {"aud": ["algasync", "somebody"]},
    "another issuer": {"iss": "https://evil.example"},
    "another tenant": {"tenant": OTHER},
    "permissions as text": {"billing_settings": "read update"},
    "no name": {"sub": ""},
    "a name with a NUL": {"sub": "da\0na"},
    "an endless id": {"jti": "x" * 201},
    "a fraction of a second": {"exp": NOW() + 60.5},
    **{
        f"no {name}": {"without": name}
        for name in ("iss", "aud", "sub", "iat", "exp", "jti", "tenant", "billing_settings")
    },
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_in_a_token_is_refused(served: Served, wrong: str) -> None:
    """Every claim is needed and checked; 401 says what is wrong."""
    answer = ask(served, signed(register(served), **WRONG[wrong]))
    assert answer.status_code == 401, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_time_is_short(served: Served) -> None:
    """Expired, from the future, or living longer than five minutes: refused."""
    key, now = register(served), int(time.time())
    assert ask(served, signed(key, iat=now - 300, exp=now - 60)).json()["code"] == "token_expired"
    assert ask(served, signed(key, iat=now + 120, exp=now + 180)).json()["code"] == "bad_token"
    assert ask(served, signed(key, iat=now, exp=now + 301)).json()["code"] == "token_too_long"
    assert ask(served, signed(key, iat=now, exp=now + 300)).status_code == 200


def test_a_token_is_good_for_one_request(served: Served) -> None:
    """Whoever sees a token on its way cannot use it again; the used ones are forgotten once they have ended."""
    token = signed(register(served))
    assert ask(served, token).status_code == 200
    again = ask(served, token)
    assert (again.status_code, again.json()["code"]) == (401, "token_used")
    with served.fleet.transaction("*") as connection:
        assert tokens.forget(connection) == 0
    with Database(served.fleet.url, Role.OWNER) as owner, owner.transaction("*") as connection:
        connection.execute(text("UPDATE token_spent SET ends_at = ends_at - interval '1 hour'"))
    with served.fleet.transaction("*") as connection:
        assert tokens.forget(connection) == 1


def test_the_algorithm_is_the_keys_and_not_the_tokens(served: Served) -> None:
    """None, a shared secret made of the public key, and another kind of key are all refused."""
    key = register(served)
    unsigned = signed(key, None, algorithm="none")
    public = pem(PRIVATE).encode()
    shared = jwt.api_jws.PyJWS()
    shared.get_algorithm_by_name("HS256").prepare_key = lambda secret: secret  # type: ignore[method-assign]  # an attacker's tool has no scruples
    payload = jwt.encode({"sub": "dana"}, "x" * 40, algorithm="HS256")
    confused = shared.encode(
        payload.encode(), public, algorithm="HS256", headers={"kid": str(key.signing_key_id)}
    )
    elliptic = generate_private_key(SECP256R1())
    other = signed(key, elliptic, algorithm="ES256")
    forged = signed(key, Ed25519PrivateKey.generate())
    for token in (unsigned, confused, other, forged):
        assert ask(served, token).status_code == 401


@pytest.mark.parametrize("kid", [None, "x", "0190b3c4-7d1e-4a55-9c1d-2f6c1b8a0d11", "0" * 5000])
def test_a_key_that_nobody_registered_is_refused(served: Served, kid: str | None) -> None:
    """Unknown and malformed key ids are 401, never an error of ours."""
    register(served)
    token = jwt.api_jws.encode(b"{}", PRIVATE, algorithm="EdDSA", headers={"kid": kid} if kid else {})
    assert ask(served, token).status_code == 401


def test_a_rotation_takes_both_keys_for_a_while(served: Served) -> None:
    """The new key is registered, the old one ends after its grace, or at once."""
    old, newer = register(served), Ed25519PrivateKey.generate()
    new = register(served, newer)
    with served.fleet.transaction(TENANT) as connection:
        tokens.distrust(connection, old.signing_key_id, actor="operator", grace=timedelta(hours=1))
    assert ask(served, signed(old)).status_code == 200
    assert ask(served, signed(new, newer)).status_code == 200
    with served.fleet.transaction(TENANT) as connection:
        tokens.distrust(connection, old.signing_key_id, actor="operator")
        with pytest.raises(Refusal, match="revoked before"):
            tokens.distrust(connection, old.signing_key_id, actor="operator")
        assert [one.signing_key_id for one in tokens.listed(connection, TENANT)] == [
            old.signing_key_id,
            new.signing_key_id,
        ]
    assert ask(served, signed(old)).json()["code"] == "unknown_signing_key"
    assert ask(served, signed(new, newer)).status_code == 200


def test_a_key_of_one_tenant_signs_for_no_other(served: Served) -> None:
    """Neither by naming the other tenant nor by being registered under the same issuer."""
    theirs, key = Ed25519PrivateKey.generate(), register(served)
    other = register(served, theirs, tenant=OTHER)
    assert ask(served, signed(other, theirs)).json()["code"] == "wrong_tenant"
    assert ask(served, signed(key, theirs)).status_code == 401
    assert ask(served, signed(other, theirs, tenant=OTHER)).status_code == 200


@pytest.mark.parametrize(
    ("algorithm", "public_key", "field"),
    [
        ("HS256", pem(PRIVATE), "algorithm"),
        ("RS256", pem(PRIVATE), "public_key"),
        ("ES256", pem(rsa_key(65537, 2048)), "public_key"),
        ("RS256", pem(rsa_key(65537, 1024)), "public_key"),
        ("EdDSA", "-----BEGIN", "public_key"),
    ],
)
def test_a_key_that_does_not_fit_is_not_registered(
    served: Served, algorithm: str, public_key: str, field: str
) -> None:
    """Shared secrets, weak keys and keys of another kind are refused by name."""
    with served.fleet.transaction(TENANT) as connection, pytest.raises(Refusal) as refused:
        tokens.trust(
            connection,
            TENANT,
            name="psa",
            issuer=ISSUER,
            algorithm=algorithm,
            public_key=public_key,
            actor="operator",
        )
    assert refused.value.field == field
