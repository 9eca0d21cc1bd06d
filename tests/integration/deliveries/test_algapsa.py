"""Payments made in QuickBooks, recorded in AlgaPSA through its REST API: once, or not at all and a person knows."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.connections.vault import Vault, new_key
from services.psa import deliveries, subscriptions
from services.psa.addresses import Outgoing
from services.psa.algapsa import AlgaPsaSender
from services.psa.sending import Parcel
from services.psa.transport import Transport
from services.psa.troubles import NOT_RECORDED
from tests.integration.deliveries.conftest import TENANT, Desk
from tests.integration.deliveries.test_kills import Start, start
from tests.support import eventually
from tests.support.algapsa import KEY, AlgaPsaServer, algapsa_server
from tests.support.receiver import LOOPBACK
from tests.support.telling import emit, publish, sample

__all__ = ["start"]


@pytest.fixture
def psa() -> Iterator[AlgaPsaServer]:
    """AlgaPSA with two invoices."""
    with algapsa_server() as running:
        running.add("inv-1", 30_000)
        running.add("inv-2", 50_000)
        yield running


@pytest.fixture
def adapter(desk: Desk, psa: AlgaPsaServer) -> UUID:
    """The tenant wants its payments recorded there."""
    with desk.api.transaction(TENANT) as connection:
        made = subscriptions.create_algapsa(
            connection, desk.vault, desk.outgoing, TENANT, url=psa.url, api_key=KEY, actor="admin"
        )
    return made.subscription_id


def state(**allocations: int) -> dict[str, Any]:
    """A payment's money, all of it on invoices."""
    return {
        "date": "2026-04-16",
        "amount": sum(allocations.values()),
        "allocations": [
            {"invoice_id": invoice.replace("_", "-"), "quickbooks_invoice_id": invoice, "amount": amount}
            for invoice, amount in allocations.items()
        ],
        "unapplied": 0,
    }


class Payment:
    """One payment in QuickBooks, told of as it changes."""

    def __init__(self, desk: Desk, payment_id: str = "") -> None:
        self.desk = desk
        self.payment_id = payment_id or str(uuid4())
        self.now: dict[str, Any] | None = None

    def data(self, type_: str, **more: Any) -> dict[str, Any]:
        """Data of an event about it."""
        data = copy.deepcopy(sample(type_)) | {"payment_id": self.payment_id, **more}
        data.pop("billing_payment_id", None)
        return data

    def is_now(self, **allocations: int) -> None:
        """It is received, or changed, to these allocations."""
        new = state(**allocations)
        if self.now is None:
            self._tell("payment.received.v1", self.data("payment.received.v1", payment=new))
        else:
            self._tell("payment.changed.v1", self.data("payment.changed.v1", payment=new, previous=self.now))
        self.now = new

    def is_gone(self) -> None:
        """It is voided."""
        self._tell(
            "payment.withdrawn.v1", self.data("payment.withdrawn.v1", previous=self.now, reason="voided")
        )
        self.now = None

    def _tell(self, type_: str, data: dict[str, Any]) -> None:
        publish(self.desk.fleet, emit(self.desk.fleet, TENANT, type_, self.payment_id, data))


def asks(desk: Desk) -> list[tuple[str, str]]:
    """What needs a person: code and state."""
    return [(one.code, one.state) for one in desk.exceptions(NOT_RECORDED)]


def test_nothing_is_sent_unless_a_tenant_wants_it(desk: Desk, psa: AlgaPsaServer) -> None:
    """Off by default."""
    Payment(desk).is_now(inv_1=30_000)
    assert desk.work() == 0
    assert psa.requests == []


def test_a_payment_over_two_invoices_is_recorded(desk: Desk, adapter: UUID, psa: AlgaPsaServer) -> None:
    """Each part on its invoice, with QuickBooks' date, reference and a note that says where it came from."""
    payment = Payment(desk)
    payment.is_now(inv_1=30_000, inv_2=20_000)
    desk.work()
    assert (psa.paid("inv-1"), psa.paid("inv-2")) == ([30_000], [20_000])
    (first, _) = psa.payments
    assert (first["payment_method"], first["payment_date"]) == ("quickbooks", "2026-04-16")
    assert first["reference_number"] == sample("payment.received.v1")["reference"]
    assert f"algasync:{payment.payment_id}" in first["notes"]
    assert psa.invoices["inv-1"]["status"] == "paid"


def test_it_looks_before_it_posts(desk: Desk, adapter: UUID, psa: AlgaPsaServer) -> None:
    """The same event again, whatever made it come again, records nothing."""
    Payment(desk).is_now(inv_1=10_000)
    desk.work()
    (delivery,) = desk.log(adapter)
    for _ in range(3):
        with desk.api.transaction(TENANT) as connection:
            deliveries.replay(connection, TENANT, adapter, delivery.delivery_id, actor="admin")
        desk.pass_time(timedelta(minutes=1))
        desk.work()
    assert (psa.paid("inv-1"), psa.posts()) == ([10_000], 1)


def test_a_lost_answer_is_looked_into_and_not_repeated(desk: Desk, adapter: UUID, psa: AlgaPsaServer) -> None:
    """The post was carried out and its answer lost: a minute later the look finds it."""
    psa.lose_answers = 1
    Payment(desk).is_now(inv_1=10_000)
    desk.work()
    (delivery,) = desk.log(adapter)
    assert delivery.state == "pending"
    desk.pass_time(timedelta(minutes=2))
    desk.work()
    assert [one.state for one in desk.log(adapter)] == ["delivered"]
    assert (psa.paid("inv-1"), psa.posts()) == ([10_000], 1)


def test_a_worker_killed_in_the_middle_leaves_no_second_payment(
    desk: Desk, adapter: UUID, psa: AlgaPsaServer, start: Start
) -> None:
    """AlgaPSA recorded it, the worker died before it knew: the next one looks, and records only what is missing."""
    workers: list[int] = []

    def murder() -> None:
        if len(psa.payments) == 1:
            os.kill(workers[0], signal.SIGKILL)

    psa.after_post = murder
    Payment(desk).is_now(inv_1=10_000, inv_2=10_000)
    workers.append(start())
    eventually(lambda: psa.posts() >= 1)
    desk.pass_time(timedelta(minutes=2))
    workers.append(start())
    eventually(lambda: desk.subscription(adapter).pending == 0, 20)
    assert (psa.paid("inv-1"), psa.paid("inv-2")) == ([10_000], [10_000])


def test_a_raised_payment_records_the_difference(desk: Desk, adapter: UUID, psa: AlgaPsaServer) -> None:
    """What AlgaPSA has of it stays; the rest is added, also on a further invoice."""
    payment = Payment(desk)
    payment.is_now(inv_1=10_000)
    payment.is_now(inv_1=15_000, inv_2=5_000)
    desk.work()
    desk.pass_time(timedelta(minutes=1))
    desk.work()
    assert (sum(psa.paid("inv-1")), sum(psa.paid("inv-2"))) == (15_000, 5_000)
    assert asks(desk) == []


def test_what_the_api_cannot_take_back_asks_a_person(desk: Desk, adapter: UUID, psa: AlgaPsaServer) -> None:
    """A void, or a payment moved to another invoice: the recipe names payment and amount; done by hand, it closes."""
    payment = Payment(desk)
    payment.is_now(inv_1=10_000)
    desk.work()
    payment.is_now(inv_2=10_000)
    desk.pass_time(timedelta(minutes=1))
    desk.work()
    (problem,) = desk.exceptions(NOT_RECORDED)
    assert problem.code == "algapsa_cannot_take_back"
    wrong = psa.payments[0]["payment_id"]
    assert f"reverse 100.00 USD of payment {wrong} on invoice INV-inv-1" in problem.fix
    assert psa.paid("inv-2") == []  # half of it would be worse than none
    psa.reverse(wrong)
    (failed,) = desk.log(adapter, "failed")
    with desk.api.transaction(TENANT) as connection:
        deliveries.replay(connection, TENANT, adapter, failed.delivery_id, actor="admin")
    desk.pass_time(timedelta(minutes=1))
    desk.work()
    assert (psa.paid("inv-1"), psa.paid("inv-2")) == ([], [10_000])
    assert asks(desk) == [("algapsa_cannot_take_back", "resolved")]
    payment.is_gone()
    desk.pass_time(timedelta(minutes=1))
    desk.work()
    assert asks(desk)[-1] == ("algapsa_cannot_take_back", "open")
    assert "was voided" in desk.exceptions(NOT_RECORDED)[-1].happened


def test_an_old_event_sent_again_brings_nothing_old_back(
    desk: Desk, adapter: UUID, psa: AlgaPsaServer
) -> None:
    """Replayed after a newer one, it says which invoices to look at; what is true of them the newest says."""
    payment = Payment(desk)
    payment.is_now(inv_1=20_000)
    desk.work()
    payment.is_now(inv_1=5_000)
    desk.pass_time(timedelta(minutes=1))
    desk.work()
    psa.reverse(psa.payments[0]["payment_id"])
    first = desk.log(adapter)[0]
    with desk.api.transaction(TENANT) as connection:
        deliveries.replay(connection, TENANT, adapter, first.delivery_id, actor="admin")
    desk.pass_time(timedelta(minutes=1))
    desk.work()
    assert psa.paid("inv-1") == [5_000]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"status": "draft"}, "algapsa_not_payable"),
        ({"status": "cancelled"}, "algapsa_not_payable"),
        ({"currency_code": "EUR"}, "algapsa_currency_mismatch"),
        ({"total_amount": 9_999}, "algapsa_overpaid"),
        ({"credit_applied": 25_000}, "algapsa_overpaid"),
    ],
)
def test_what_algapsa_does_not_check_is_checked(
    desk: Desk, adapter: UUID, psa: AlgaPsaServer, change: dict[str, Any], code: str
) -> None:
    """Drafts, other currencies, overpayments: nothing is posted that only a missing check would let in."""
    psa.invoices["inv-1"].update(change)
    Payment(desk).is_now(inv_1=10_000, inv_2=1)
    desk.work()
    assert asks(desk) == [(code, "open")]
    assert psa.payments == []


def test_an_invoice_that_algapsa_does_not_have(desk: Desk, adapter: UUID, psa: AlgaPsaServer) -> None:
    """It asks, and names it."""
    Payment(desk).is_now(inv_9=10_000)
    desk.work()
    assert asks(desk) == [("algapsa_unknown_invoice", "open")]


def test_algapsas_own_payment_is_never_recorded_again(desk: Desk, adapter: UUID, psa: AlgaPsaServer) -> None:
    """It came from there: a change of it in QuickBooks asks a person, since the API changes nothing."""
    payment = Payment(desk)
    before, after = state(inv_1=10_000), state(inv_1=20_000)
    data = payment.data("payment.changed.v1", payment=after, previous=before) | {
        "billing_payment_id": "pay-1"
    }
    publish(desk.fleet, emit(desk.fleet, TENANT, "payment.changed.v1", payment.payment_id, data))
    desk.work()
    assert asks(desk) == [("algapsa_own_payment_changed", "open")]
    assert psa.requests == []


def test_a_version_that_hides_notes_stops_before_it_doubles(
    desk: Desk, adapter: UUID, psa: AlgaPsaServer
) -> None:
    """Where our marker cannot be read back, the first payment says so, instead of every later event posting anew."""
    psa.shows_notes = False
    Payment(desk).is_now(inv_1=10_000)
    desk.work()
    assert asks(desk) == [("algapsa_cannot_verify", "open")]
    assert psa.posts() == 1


def test_trouble_on_their_side_is_tried_again(desk: Desk, adapter: UUID, psa: AlgaPsaServer) -> None:
    """500 before anything was done, 429 with its Retry-After, a key that was revoked: all end recorded once."""
    psa.fail_posts = 1
    Payment(desk).is_now(inv_1=10_000)
    desk.work()
    psa.tokens = -1_000
    desk.pass_time(timedelta(minutes=2))
    desk.work()
    (delivery,) = desk.log(adapter)
    assert (delivery.status, delivery.state) == (429, "pending")
    psa.tokens = 120
    with desk.api.transaction(TENANT) as connection:
        subscriptions.set_api_key(connection, desk.vault, TENANT, adapter, "revoked", actor="admin")
    desk.work()
    (delivery,) = desk.log(adapter)
    assert delivery.status == 401
    assert KEY not in str(delivery.error)
    with desk.api.transaction(TENANT) as connection:
        subscriptions.set_api_key(connection, desk.vault, TENANT, adapter, KEY, actor="admin")
    desk.work()
    assert (psa.paid("inv-1"), psa.posts()) == ([10_000], 2)


def test_a_worker_whose_lease_may_be_over_posts_nothing(psa: AlgaPsaServer) -> None:
    """Two workers must not look at the same time and then both post."""
    vault = Vault([new_key()])
    outgoing = Outgoing(networks=[LOOPBACK])
    sender = AlgaPsaSender(Transport(outgoing), vault)
    assert sender.send(parcel(psa, vault, state(inv_1=10_000)), lambda: False).outcome == "again"
    assert psa.posts() == 0


def parcel(psa: AlgaPsaServer, vault: Vault, payment: dict[str, Any], **more: Any) -> Parcel:
    """A payment event on its way."""
    data = sample("payment.received.v1") | {"payment": payment} | more
    body = json.dumps({"data": data})
    secret = vault.encrypt(KEY)
    return Parcel(uuid4(), uuid4(), TENANT, uuid4(), "payment.received.v1", body, 1, psa.url, secret, "")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    amounts=st.lists(st.integers(1, 200), min_size=1, max_size=5).map(sorted),
    lost=st.sets(st.integers(0, 5)),
    repeats=st.integers(1, 3),
)
def test_growing_payments_add_up_whatever_is_lost(amounts: list[int], lost: set[int], repeats: int) -> None:
    """Any sequence of raises, lost answers and repetitions ends with exactly the last amount recorded."""
    vault = Vault([new_key()])
    outgoing = Outgoing(networks=[LOOPBACK], seconds=2)
    sender = AlgaPsaSender(Transport(outgoing), vault)
    with algapsa_server() as psa:
        psa.add("inv-1", 1_000)
        for number, amount in enumerate(amounts):
            psa.lose_answers = int(number in lost)
            one = parcel(psa, vault, state(inv_1=amount))
            for _ in range(repeats):
                sender.send(one, lambda: True)
            psa.lose_answers = 0
            assert sender.send(one, lambda: True).outcome == "delivered"
            assert sum(psa.paid("inv-1")) == amount
