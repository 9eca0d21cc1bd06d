"""AlgaPSA's REST API, as far as payments need it: invoices, what was paid on them, and recording a payment.

The API has no idempotency key, no check against overpayment and no way to take a payment back, and the shape of its
lists is not promised; what is read is read by field names, and what is not understood is an error rather than a guess.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from urllib.parse import quote

from services.psa.transport import Answer, NotAnswered, Transport
from services.psa.webhook import asked

METHOD: Final = "quickbooks"
_LIMIT: Final = 4 << 20  # bytes of an answer
_REASON: Final = 300  # characters of an error that are passed on


class ApiTrouble(Exception):
    """It may work later. `maybe`: what was asked for may have been done all the same."""

    def __init__(
        self, sentence: str, *, status: int | None = None, after: float | None = None, maybe: bool = False
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.after = after
        self.maybe = maybe


class ApiRefused(Exception):
    """A definite no, in AlgaPSA's words."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as AlgaPSA has it; amounts in minor units."""

    invoice_id: str
    number: str
    status: str
    currency: str
    total: int
    credit_applied: int


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment on an invoice; a refund or reversal has a negative amount. `text` is where a marker may stand."""

    payment_id: str
    amount: int
    status: str
    text: str

    @property
    def counts(self) -> bool:
        """Whether it is money on the invoice."""
        return self.status in {"completed", ""}


class AlgaPsa:
    """One AlgaPSA, with one API key."""

    def __init__(self, transport: Transport, base: str, api_key: str) -> None:
        self._transport = transport
        self._base = base
        self._key = api_key

    def invoice(self, invoice_id: str) -> Invoice | None:
        """An invoice; None when there is none. Raises `ApiTrouble`, `ApiRefused`."""
        try:
            row = self._read(f"/api/v1/invoices/{quote(invoice_id, safe='')}")
        except ApiRefused as refused:
            if refused.status == 404:
                return None
            raise
        if not isinstance(row, Mapping) or "status" not in row:
            raise ApiTrouble("AlgaPSA described the invoice in a way this version does not know")
        return Invoice(
            invoice_id,
            str(row.get("invoice_number") or invoice_id),
            str(row["status"]).lower(),
            str(row.get("currency_code") or ""),
            _minor(row, "total_amount"),
            _minor(row, "credit_applied", 0),
        )

    def payments(self, invoice_id: str) -> list[Payment]:
        """Every payment on an invoice. Raises `ApiTrouble`, `ApiRefused`."""
        found = self._read(f"/api/v1/invoices/{quote(invoice_id, safe='')}/transactions")
        if not isinstance(found, list | Mapping):
            raise ApiTrouble("AlgaPSA listed the payments in a way this version does not know")
        return [
            Payment(
                str(row["payment_id"]),
                _minor(row, "amount"),
                str(row.get("status") or "").lower(),
                f"{row.get('reference_number') or ''} {row.get('notes') or ''}",
            )
            for row in _rows(found)
            if row.get("payment_id")
        ]

    def record(self, invoice_id: str, *, amount: int, on: date, reference: str | None, notes: str) -> None:
        """Record a payment. Raises `ApiTrouble`, `ApiRefused`."""
        body = {
            "payment_amount": amount,
            "payment_method": METHOD,
            "payment_date": on.isoformat(),
            "notes": notes,
        } | ({"reference_number": reference} if reference else {})
        self._call("POST", f"/api/v1/invoices/{quote(invoice_id, safe='')}/payment", body)

    def _read(self, path: str) -> Any:
        found = self._call("GET", path, None)
        if not isinstance(found, Mapping) or "data" not in found:
            raise ApiTrouble("what answers there is not AlgaPSA's REST API")
        return found["data"]

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = {"x-api-key": self._key, "Accept": "application/json"}
        written = json.dumps(body).encode() if body is not None else None
        if written is not None:
            headers["Content-Type"] = "application/json"
        try:
            answer = self._transport.request(
                method, self._base + path, headers=headers, body=written, limit=_LIMIT
            )
        except NotAnswered as error:
            raise ApiTrouble(str(error), maybe=method == "POST" and error.sent) from error
        return self._judged(answer, method)

    def _judged(self, answer: Answer, method: str) -> Any:
        status = answer.status
        said = _error(answer.body)
        if status in {401, 403}:
            raise ApiTrouble(f"AlgaPSA refuses the API key with {status}{said}", status=status)
        if status == 429:
            raise ApiTrouble("AlgaPSA asks to go slower (429)", status=status, after=asked(answer))
        if status >= 500 or status < 200:
            raise ApiTrouble(f"AlgaPSA answered {status}{said}", status=status, maybe=method == "POST")
        if 300 <= status < 400:
            raise ApiTrouble(f"AlgaPSA's address redirects ({status}); set the final address", status=status)
        if status >= 400:
            raise ApiRefused(status, f"AlgaPSA answered {status}{said}")
        try:
            return json.loads(answer.body)
        except ValueError:
            raise ApiTrouble(
                "AlgaPSA answered with something that is not JSON", status=status, maybe=method == "POST"
            ) from None


def _rows(found: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in lists, at any depth: AlgaPSA lists payments and credits apart or together."""
    for one in found.values() if isinstance(found, Mapping) else found:
        if isinstance(one, Mapping):
            yield one
        if isinstance(one, list | Mapping):
            yield from _rows(one)


def _minor(row: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """An amount in minor units; a driver may write a bigint as text."""
    value = row.get(name)
    if value is None and default is not None:
        return default
    try:
        number = int(str(value))
    except ValueError:
        raise ApiTrouble(f"AlgaPSA's {name} is {value!r}, which is no amount in minor units") from None
    return number


def _error(body: bytes) -> str:
    """Message and code of AlgaPSA's error shape, as far as the body has it."""
    try:
        error = json.loads(body)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, TypeError, KeyError, LookupError):
        return ""
    return f": {message[:_REASON]} ({code})"
