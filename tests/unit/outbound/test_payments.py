"""Payments as QuickBooks wants them: the date that billing says, the money to the cent, the reference that fits."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import messages
from messages.payments import PaymentRecorded
from services.outbound import payments
from services.outbound.books import Books

BOOKS = Books(UUID("00000000-0000-0000-0000-0000000000c1"), "9341", "Acme MSP", "sandbox", "US", "USD")
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def built(**changes: Any) -> dict[str, Any]:
    """The wire body of a payment of 135.00."""
    data = {
        "id": "pay-1",
        "client": {"id": "cl-1", "name": "Cool Cars", "tax_exempt": True},
        "date": "2026-03-31",
        "received_at": "2026-03-31T19:00:00-07:00",
        "amount": 13500,
        "currency": "USD",
        "method": "check",
        "allocations": [],
        "status": "settled",
        **changes,
    }
    payment = messages.validate("com.algapsa.billing.payment.recorded.v1", data)
    assert isinstance(payment, PaymentRecorded)
    body, findings = payments.build(payment, "2", {}, BOOKS, {}, "AS-TEST1234", dated=payment.date)
    assert findings == []
    return body


@pytest.mark.parametrize(
    ("day", "received_at"),
    [
        ("2026-03-31", "2026-03-31T19:00:00-07:00"),  # 7 pm Pacific is 1 April in UTC
        ("2026-03-31", "2026-04-01T02:00:00+00:00"),
        ("2026-12-31", "2027-01-01T07:59:59+00:00"),
        ("2026-03-08", "2026-03-08T10:00:00+00:00"),  # the hour that daylight saving leaves out
        ("2026-11-01", "2026-11-01T09:30:00+00:00"),  # the hour that comes twice
    ],
)
def test_the_day_of_the_payment_is_the_day_that_billing_says(day: str, received_at: str) -> None:
    """31 March at 7 pm Pacific is 31 March, wherever the server stands."""
    assert built(date=day, received_at=received_at)["TxnDate"] == day


@given(day=st.dates(date(2000, 1, 1), date(2099, 12, 31)), at=st.datetimes(timezones=OFFSETS))
def test_no_moment_moves_a_date(day: date, at: datetime) -> None:
    """Whatever the clock said when the money came in."""
    assert built(date=day.isoformat(), received_at=at.isoformat())["TxnDate"] == day.isoformat()


@given(
    amount=st.integers(1, 10**13),
    reference=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
)
def test_amount_and_reference(amount: int, reference: str) -> None:
    """The money to the cent; a reference that had to be cut shows it, and is whole in the note."""
    body = built(amount=amount, reference=reference)
    assert body["TotalAmt"] == Decimal(amount).scaleb(-2)
    assert len(body["PaymentRefNum"]) <= 21
    whole = body["PaymentRefNum"] == reference
    assert whole or (
        body["PaymentRefNum"].endswith("...") and f"Reference: {reference}" in body["PrivateNote"]
    )


def test_money_on_no_invoice_names_no_lines() -> None:
    """Left out, the lines say that all of it is unapplied; an empty list is no list of invoices."""
    assert "Line" not in built()
