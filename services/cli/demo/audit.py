"""The independent check: ask the QuickBooks company itself what arrived, over HTTP and without our ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import requests
import simplejson

from messages.money import to_minor
from services.quickbooks import query as query_

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Findings:
    """How the company's books compare with what was billed; all lists hold document numbers."""

    expected: int
    arrived: int
    doubled: list[str]
    missing: list[str]
    off: dict[str, int]  # number -> cents of difference

    @property
    def clean(self) -> bool:
        """Every document exactly once and to the cent."""
        return not (self.doubled or self.missing or self.off)


def audit(api: str, realm: str, token: str, billed: Iterable[Mapping[str, Any]]) -> Findings:
    """Compare billed invoices (event data) with all invoices of the company, by number and to the cent."""
    books = _invoices(api, realm, token)
    times = Counter(invoice["DocNumber"] for invoice in books)
    totals = {invoice["DocNumber"]: Decimal(invoice["TotalAmt"]) for invoice in books}
    wanted = {data["number"]: data for data in billed}
    off = {}
    for number, data in wanted.items():
        if number in totals:
            difference = to_minor(totals[number], data["currency"]) - data["total"]
            if difference:
                off[number] = difference
    return Findings(
        expected=len(wanted),
        arrived=sum(1 for number in wanted if times[number]),
        doubled=[number for number in wanted if times[number] > 1],
        missing=[number for number in wanted if not times[number]],
        off=off,
    )


def _invoices(api: str, realm: str, token: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        query = query_.select("Invoice").order_by("Id").page(len(found) + 1, PAGE).text
        answer = requests.get(
            f"{api}/v3/company/{realm}/query",
            params={"query": query, "minorversion": "75"},
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=30,
        )
        answer.raise_for_status()
        page = simplejson.loads(answer.text, use_decimal=True)["QueryResponse"].get("Invoice", [])
        found += page
        if len(page) < PAGE:
            return found
