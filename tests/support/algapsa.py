"""A small AlgaPSA: the REST endpoints an outside service can record payments with, as its source has them.

Faithful in what hurts: no idempotency key (the same post twice is two payments), no check against overpayment or a
draft, only `cancelled` is refused; nothing takes a payment back; amounts are integers in minor units; errors and lists
have AlgaPSA's shapes; the key of an internal user, and a token bucket of 120, refilled with 60 a minute.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import uuid4

from tests.support.receiver import Answer, Post, receiver

KEY = "fake-alga-api-key"
_PATH = re.compile(r"/api/v1/invoices/(?P<id>[^/?]+)(?P<rest>/transactions|/payment)?$")


@dataclass
class AlgaPsaServer:
    """The server and its books."""

    url: str
    invoices: dict[str, dict[str, Any]] = field(default_factory=dict)
    payments: list[dict[str, Any]] = field(default_factory=list)
    requests: list[Post] = field(default_factory=list)
    tokens: float = 120.0
    shows_notes: bool = True
    lose_answers: int = 0
    """So many posts are carried out and their answer is lost."""
    fail_posts: int = 0
    """So many posts are refused with 500 before anything is done."""
    after_post: Callable[[], None] = lambda: None
    """Runs once a payment is recorded, before its answer goes out."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    _filled: float = field(default_factory=time.monotonic)

    def add(self, invoice_id: str, total: int, *, status: str = "sent", currency: str = "USD") -> None:
        """Finalize an invoice."""
        self.invoices[invoice_id] = {
            "invoice_id": invoice_id,
            "invoice_number": f"INV-{invoice_id}",
            "status": status,
            "total_amount": total,
            "credit_applied": 0,
            "currency_code": currency,
        }

    def reverse(self, payment_id: str) -> None:
        """What a bookkeeper does by hand: the payment is reversed, with a negative row."""
        found = next(one for one in self.payments if one["payment_id"] == payment_id)
        found["status"] = "reversed"

    def paid(self, invoice_id: str) -> list[int]:
        """Amounts of the payments that count on an invoice, in the order they were recorded."""
        return [
            one["amount"]
            for one in self.payments
            if one["invoice_id"] == invoice_id and one["status"] == "completed"
        ]

    def posts(self) -> int:
        """How many payments were asked for."""
        return sum(one.method == "POST" for one in self.requests)

    def serve(self, post: Post) -> Answer:
        """Answer one request."""
        with self.lock:
            self.requests.append(post)
            if post.headers.get("x-api-key") != KEY:
                return _error(401, "UNAUTHORIZED", "Invalid API key")
            self._refill()
            if self.tokens < 1:
                status, headers, body = _error(429, "RATE_LIMITED", "Too many requests")
                return status, {**headers, "Retry-After": "60"}, body
            self.tokens -= 1
            match = _PATH.fullmatch(post.path)
            if match is None:
                return _error(404, "NOT_FOUND", "Route not found")
            invoice = self.invoices.get(match["id"])
            if invoice is None:
                return _error(404, "NOT_FOUND", "Invoice not found")
            if post.method == "GET":
                return _data(self._transactions(match["id"]) if match["rest"] else invoice)
            return self._record(invoice, post)

    def _record(self, invoice: dict[str, Any], post: Post) -> Answer:
        given = json.loads(post.body)
        amount = given.get("payment_amount")
        if type(amount) is not int or amount <= 0 or not given.get("payment_method"):
            return _error(400, "VALIDATION_ERROR", "payment_amount must be a positive integer")
        try:
            date.fromisoformat(given.get("payment_date") or "2026-01-01")
        except ValueError:
            return _error(400, "VALIDATION_ERROR", "payment_date must be YYYY-MM-DD")
        if self.fail_posts:
            self.fail_posts -= 1
            return _error(500, "INTERNAL_ERROR", 'column "created_by" does not exist')
        if invoice["status"] == "cancelled":
            return _error(400, "INVOICE_CANCELLED", "Cannot record payment for a cancelled invoice")
        payment = {
            "payment_id": str(uuid4()),
            "invoice_id": invoice["invoice_id"],
            "amount": amount,
            "payment_method": given["payment_method"],
            "payment_date": given.get("payment_date"),
            "reference_number": given.get("reference_number"),
            "notes": given.get("notes"),
            "status": "completed",
        }
        self.payments.append(payment)
        paid = sum(self.paid(invoice["invoice_id"])) + invoice["credit_applied"]
        invoice["status"] = "paid" if paid >= invoice["total_amount"] else "partially_applied"
        self.after_post()
        if self.lose_answers:
            self.lose_answers -= 1
            return None
        return _data({"payment": payment, "invoice": invoice}, 201)

    def _transactions(self, invoice_id: str) -> dict[str, Any]:
        rows = [one for one in self.payments if one["invoice_id"] == invoice_id]
        shown = [one if self.shows_notes else {**one, "notes": None} for one in rows]
        return {"payments": shown, "credits": []}

    def _refill(self) -> None:
        now = time.monotonic()
        self.tokens = min(120.0, self.tokens + (now - self._filled))
        self._filled = now


def _data(data: object, status: int = 200) -> tuple[int, Mapping[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps({"data": data}).encode()


def _error(status: int, code: str, message: str) -> tuple[int, Mapping[str, str], bytes]:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return status, {"Content-Type": "application/json"}, body


@contextmanager
def algapsa_server() -> Iterator[AlgaPsaServer]:
    """A server on a free port of the loopback."""
    with receiver() as running:
        server = AlgaPsaServer(running.url)
        running.answer = server.serve
        yield server
