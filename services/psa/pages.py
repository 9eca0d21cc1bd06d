"""Where to see a document in QuickBooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

HOSTS: Final[Mapping[str, str]] = {
    "production": "https://app.qbo.intuit.com",
    "sandbox": "https://app.sandbox.qbo.intuit.com",
}
_PAGES: Final[Mapping[str, str]] = {
    "Invoice": "invoice?txnId=",
    "CreditMemo": "creditmemo?txnId=",
    "Payment": "recvpayment?txnId=",
    "RefundReceipt": "refundreceipt?txnId=",
    "Customer": "customerdetail?nameId=",
}


def page(environment: str, entity: str, external_id: str) -> str | None:
    """The address of an object's page; None for what has none."""
    if entity not in _PAGES:
        return None
    return f"{HOSTS[environment]}/app/{_PAGES[entity]}{quote(external_id, safe='')}"
