"""What tells a receiver that a webhook is ours, and of when: the form AlgaPSA's own webhooks have.

`X-Alga-Signature: t=<unix seconds>,v1=<HMAC-SHA256 of "<t>.<body>" in hex>`, keyed with the subscription's secret as it
was shown. The moment is signed too, so an old post cannot be sent again by somebody who saw it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

HEADER: Final = "X-Alga-Signature"
PREFIX: Final = "whsec_"
"""How every signing secret begins, so that scanners find one that leaked."""


def new_secret() -> str:
    """A fresh signing secret of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def sign(secret: str, body: bytes, moment: int) -> str:
    """The header's value for a body sent at `moment`, in Unix seconds."""
    digest = hmac.new(secret.encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"
