"""Payments: settled money only, never more allocated than came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import problems, validate
from messages.accounting import PaymentState
from messages.errors import Problem
from messages.payments import Allocation, check_allocations

RECORDED = "com.algapsa.billing.payment.recorded.v1"
REALLOCATED = "com.algapsa.billing.payment.reallocated.v1"

Sample = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("status", ["pending", "completed", "Settled", None, 1])
def test_a_pending_payment_is_refused_by_name(sample: Sample, status: Any) -> None:
    """Only settled money is sent; the refusal says what to do with the rest."""
    (problem,) = problems(RECORDED, sample("payment.recorded.v1", status=status))
    assert problem.field == "data.status"
    assert problem.message.endswith(
        "; only settled money is sent: emit payment.recorded with status settled once the money has arrived"
    )


def test_a_payment_without_status_is_refused(sample: Sample) -> None:
    """Nobody may assume that money has arrived."""
    data = sample("payment.recorded.v1")
    del data["status"]
    assert problems(RECORDED, data) == [Problem("data.status", "is missing; send it")]


def test_more_allocated_than_paid_is_refused(sample: Sample) -> None:
    """Allocations beyond the amount are named with both figures."""
    (problem,) = problems(RECORDED, sample("payment.recorded.v1", amount=298999))
    assert problem == Problem(
        "data.allocations", "add up to 299000, more than the payment's amount of 298999; lower an allocation"
    )


def test_an_invoice_is_allocated_once(sample: Sample) -> None:
    """Two allocations to one invoice could be a sum or a repetition: they are refused."""
    twice = [
        {"invoice_id": "a", "amount": 1},
        {"invoice_id": "b", "amount": 1},
        {"invoice_id": "a", "amount": 2},
    ]
    expected = Problem(
        "data.allocations[2].invoice_id", "names invoice 'a' a second time; send one allocation an invoice"
    )
    assert problems(RECORDED, sample("payment.recorded.v1", allocations=twice)) == [expected]
    assert problems(REALLOCATED, sample("payment.reallocated.v1", allocations=twice)) == [expected]


@given(st.lists(st.integers(1, 10**9), max_size=10), st.integers(1, 10**10))
def test_allocations_are_refused_exactly_when_they_exceed_the_amount(parts: list[int], amount: int) -> None:
    """A cent too much is refused, anything up to the amount is not."""
    rows = [Allocation(invoice_id=f"i{index}", amount=part) for index, part in enumerate(parts)]
    assert bool(check_allocations(rows, amount)) == (sum(parts) > amount)
    assert check_allocations(rows, None) == []


def test_a_payment_may_be_unapplied(sample: Sample) -> None:
    """No allocation at all is a valid payment, and a valid reallocation."""
    assert problems(RECORDED, sample("payment.recorded.v1", allocations=[])) == []
    assert problems(REALLOCATED, sample("payment.reallocated.v1", allocations=[])) == []


@pytest.mark.parametrize("amount", [0, -1, 1.5])
def test_amounts_are_positive(sample: Sample, amount: Any) -> None:
    """A payment, an allocation and a refund move money one way; the type of the event says which."""
    assert problems(RECORDED, sample("payment.recorded.v1", amount=amount, allocations=[]))
    allocation = [{"invoice_id": "a", "amount": amount}]
    assert problems(RECORDED, sample("payment.recorded.v1", allocations=allocation))
    assert problems("com.algapsa.billing.payment.refunded.v1", sample("payment.refunded.v1", amount=amount))


def test_reasons_of_a_reversal_are_known(sample: Sample) -> None:
    """Only a payment keyed in error is voided, so the reason must be one we can tell apart."""
    (problem,) = problems(
        "com.algapsa.billing.payment.reversed.v1", sample("payment.reversed.v1", reason="oops")
    )
    assert problem == Problem("data.reason", "is 'oops'; send 'keyed_in_error', 'bounced' or 'chargeback'")


def test_subjects_are_the_documents(sample: Sample) -> None:
    """Events are ordered per document: the payment, but the refund itself for a refund."""
    paid = validate(RECORDED, sample("payment.recorded.v1"))
    refunded = validate("com.algapsa.billing.payment.refunded.v1", sample("payment.refunded.v1"))
    assert paid.key == ("payment", paid.plain()["id"])
    assert refunded.key == ("refund", refunded.plain()["refund_id"])


def test_money_seen_in_quickbooks_is_somewhere() -> None:
    """Allocations, outside and unapplied add up to the payment, or the event is not sent."""
    state = {"date": "2026-04-16", "amount": 500, "allocations": [], "outside": [], "unapplied": 500}
    assert PaymentState.model_validate(state).amount == 500
    with pytest.raises(ValueError, match="is 500, but allocations, outside and unapplied add up to 499"):
        PaymentState.model_validate(state | {"unapplied": 499})
