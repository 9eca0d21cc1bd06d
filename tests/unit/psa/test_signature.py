"""The signature has the form of AlgaPSA's own webhooks."""

from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from services.psa import signature


def test_the_form_is_algapsas() -> None:
    """`t=<unix>,v1=<hex HMAC-SHA256 of "<t>.<body>">`, worked out by hand."""
    wanted = hmac.new(b"whsec_fake", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert signature.sign("whsec_fake", b'{"a":1}', 1_700_000_000) == f"t=1700000000,v1={wanted}"
    assert signature.HEADER == "X-Alga-Signature"


@given(st.binary(), st.binary(), st.integers(0, 2**40), st.integers(0, 2**40))
def test_moment_and_body_are_both_signed(one: bytes, other: bytes, early: int, late: int) -> None:
    """Another body or another moment has another signature; a digit cannot pass from one to the other."""
    same = (one, early) == (other, late)
    first = signature.sign("whsec_fake", one, early).split("v1=")[1]
    second = signature.sign("whsec_fake", other, late).split("v1=")[1]
    assert (first == second) == same


def test_secrets_differ_and_can_be_recognised() -> None:
    """256 random bits behind a prefix that scanners know."""
    made = {signature.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(one.startswith("whsec_") and len(one) > 45 for one in made)
