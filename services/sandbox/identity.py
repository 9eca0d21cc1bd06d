"""Who signed in, as a signed token (OpenID Connect): the key, its public half, and the token itself.

https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/openid-connect
"""

from __future__ import annotations

import base64
import json
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

SUBJECT = "sandbox-user-1"
ALGORITHM = "RS256"
_KEY_ID = "sandbox-1"
_SECONDS = 3600


class Identity:
    """Signs ID tokens with a key of its own, made when the first one is asked for."""

    @cached_property
    def _key(self) -> RSAPrivateKey:
        return generate_private_key(public_exponent=65537, key_size=2048)

    def keys(self) -> dict[str, Any]:
        """The JSON Web Key Set that verifies the tokens."""
        numbers = self._key.public_key().public_numbers()
        public = {"n": _number(numbers.n), "e": _number(numbers.e)}
        return {"keys": [{"kty": "RSA", "alg": ALGORITHM, "use": "sig", "kid": _KEY_ID, **public}]}

    def token(self, issuer: str, client_id: str, realm: str, now: float) -> str:
        """A JSON Web Token that says who approved the app, and for which company."""
        claims = {
            "sub": SUBJECT,
            "aud": [client_id],
            "realmid": realm,
            "auth_time": int(now),
            "iss": issuer,
            "exp": int(now) + _SECONDS,
            "iat": int(now),
        }
        header = {"kid": _KEY_ID, "alg": ALGORITHM}
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        return (signed + b"." + _encoded(self._key.sign(signed, PKCS1v15(), SHA256()))).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _number(value: int) -> str:
    return _encoded(value.to_bytes((value.bit_length() + 7) // 8)).decode()
