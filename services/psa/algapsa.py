"""Records payments made in QuickBooks in AlgaPSA, through its REST API.

AlgaPSA has no idempotency key, so every attempt looks first: a payment we recorded carries a marker in its notes, what
the markers of a payment add up to on an invoice is what AlgaPSA has of it, and only the difference is posted. An
attempt whose end is unknown is therefore simply made again. What the API cannot do, taking back a payment above all,
asks a person, with a recipe; nothing is ever posted that AlgaPSA would only accept because it does not check.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final
from uuid import UUID

from messages.accounting import PaymentState
from messages.money import Money
from services.connections.vault import Vault, VaultError
from services.exceptions.desk import Subject
from services.ledger.ports import Problem
from services.psa.algapsa_api import AlgaPsa, ApiRefused, ApiTrouble, Invoice, Payment
from services.psa.sending import Parcel, Sent
from services.psa.transport import Transport
from services.psa.troubles import NOT_RECORDED

LOOK_AFTER: Final = (
    60.0  # seconds until the look after an unknown outcome: long enough for what was sent to arrive
)


class _Person(Exception):
    """A person must act: what happened, why, and what to do."""

    def __init__(self, code: str, happened: str, why: str, fix: str) -> None:
        super().__init__(happened)
        self.code, self.happened, self.why, self.fix = code, happened, why, fix


class AlgaPsaSender:
    """`services.psa.sending.Sender` for tenants that want payments recorded in AlgaPSA."""

    def __init__(self, transport: Transport, vault: Vault) -> None:
        self._transport = transport
        self._vault = vault

    def send(self, parcel: Parcel, still: Callable[[], bool]) -> Sent:
        """Bring AlgaPSA to what the event says of a payment, one invoice after the other."""
        assert parcel.secret is not None
        data = json.loads(parcel.body)["data"]
        settles = (_subject(parcel.tenant, data), NOT_RECORDED)
        try:
            api = AlgaPsa(self._transport, parcel.url, self._vault.open(parcel.secret))
            latest = json.loads(parcel.latest)["data"] if parcel.latest is not None else data
            done = _Recording(api, data, latest, still).run()
        except VaultError as error:
            return Sent("again", error=str(error))
        except ApiTrouble as trouble:
            after = max(LOOK_AFTER, trouble.after or 0) if trouble.maybe else trouble.after
            return Sent("again", trouble.status, str(trouble), after=after)
        except ApiRefused as refused:
            person = _Person(
                "algapsa_refused",
                str(refused),
                "AlgaPSA refuses this payment, so it is not recorded there.",
                "Record it in AlgaPSA by hand, or mend what it objects to and replay this delivery.",
            )
            return Sent(
                "person",
                refused.status,
                str(refused),
                problem=_problem(parcel, data, person),
                settles=settles,
            )
        except _Person as person:
            return Sent(
                "person", None, person.happened, problem=_problem(parcel, data, person), settles=settles
            )
        return Sent("delivered", 200, reply=done, settles=settles)


class _Recording:
    """One payment event, brought into AlgaPSA."""

    def __init__(
        self, api: AlgaPsa, data: dict[str, Any], latest: dict[str, Any], still: Callable[[], bool]
    ) -> None:
        """`data` says which invoices it is about, `latest` what is true of them by now: an old event sent again
        brings nothing old back.
        """
        self._api = api
        self._data = latest
        self._event = data
        self._still = still
        self._payment_id: str = data["payment_id"]
        self._currency: str = data["currency"]
        self.marker = f"algasync:{self._payment_id}"

    def run(self) -> str:
        """Do it and say what was done. Raises `_Person`, `ApiTrouble`, `ApiRefused`."""
        state = PaymentState.model_validate(self._data["payment"]) if "payment" in self._data else None
        wanted = _by_invoice([state] if state else [])
        told = [PaymentState.model_validate(one[name]) for one, name in self._states()]
        touched = list(_by_invoice(told))
        if self._data.get("billing_payment_id"):
            if "previous" in self._event:
                raise self._own_payment(touched)
            return "AlgaPSA's own payment"
        done = []
        # All that may need a person is looked at before anything is posted: half a payment is worse than none.
        plans = [self._plan(invoice_id, wanted.get(invoice_id, 0)) for invoice_id in touched]
        for invoice, missing in plans:
            if missing:
                assert state is not None
                self._post(invoice, missing, wanted[invoice.invoice_id], state)
                done.append(f"{self._money(missing)} on {invoice.number}")
        return "recorded " + ", ".join(done) if done else "AlgaPSA has it already"

    def _states(self) -> list[tuple[dict[str, Any], str]]:
        """Every state of the payment that the event, or the latest one, speaks of."""
        return [
            (one, name)
            for one in (self._event, self._data)
            for name in ("previous", "payment")
            if name in one
        ]

    def _plan(self, invoice_id: str, wanted: int) -> tuple[Invoice, int]:
        """The invoice, and what is missing on it of this payment."""
        invoice = self._api.invoice(invoice_id)
        if invoice is None:
            raise _Person(
                "algapsa_unknown_invoice",
                f"AlgaPSA has no invoice {invoice_id}.",
                "It was deleted there, or the API key belongs to another tenant.",
                "Check the invoice and the API key's user in AlgaPSA, then replay this delivery.",
            )
        payments = self._api.payments(invoice_id)
        recorded = self._recorded(payments)
        if recorded == wanted:
            return invoice, 0
        if recorded > wanted:
            raise self._too_much(invoice, payments, recorded, wanted)
        missing = wanted - recorded
        self._check(invoice, payments, missing)
        return invoice, missing

    def _check(self, invoice: Invoice, payments: list[Payment], missing: int) -> None:
        """What AlgaPSA does not check itself."""
        if invoice.status in {"draft", "cancelled"}:
            raise _Person(
                "algapsa_not_payable",
                f"Invoice {invoice.number} is {invoice.status} in AlgaPSA, and {self._money(missing)} was paid on it.",
                "A payment on it would change nothing, or the wrong thing.",
                "Finalize the invoice in AlgaPSA, or move the payment in QuickBooks; then replay this delivery.",
            )
        if invoice.currency and invoice.currency != self._currency:
            raise _Person(
                "algapsa_currency_mismatch",
                f"The payment is in {self._currency} and invoice {invoice.number} in {invoice.currency}.",
                "An amount of one currency is no amount of the other.",
                "Correct the currency where it is wrong, or record the payment in AlgaPSA by hand.",
            )
        paid = sum(payment.amount for payment in payments if payment.counts)
        due = invoice.total - invoice.credit_applied - paid
        if missing > due:
            raise _Person(
                "algapsa_overpaid",
                f"{self._money(missing)} was paid on invoice {invoice.number}, which has {self._money(due)} open.",
                "AlgaPSA would record more than the invoice is worth. It may have the payment from somewhere else.",
                "Compare the invoice's payments; remove the one that is double, or record the rest by hand.",
            )

    def _post(self, invoice: Invoice, amount: int, wanted: int, state: PaymentState) -> None:
        if not self._still():
            raise ApiTrouble("it took too long so far; the rest is done at the next try")
        self._api.record(
            invoice.invoice_id,
            amount=amount,
            on=state.date,
            reference=self._data.get("reference"),
            notes=f"QuickBooks payment {self._data['quickbooks_id']} ({self.marker})",
        )
        # If the marker cannot be seen again, nothing would keep the next event from posting it twice.
        if self._recorded(self._api.payments(invoice.invoice_id)) < wanted:
            raise _Person(
                "algapsa_cannot_verify",
                f"{self._money(amount)} was recorded on {invoice.number}, and AlgaPSA does not list it with its note.",
                "This version of AlgaPSA keeps or lists payments otherwise, so a second one could not be told apart.",
                "Delete this destination, check the invoice's payments, and report AlgaPSA's version to us.",
            )

    def _recorded(self, payments: list[Payment]) -> int:
        return sum(one.amount for one in payments if one.counts and self.marker in one.text)

    def _too_much(self, invoice: Invoice, payments: list[Payment], recorded: int, wanted: int) -> _Person:
        ids = ", ".join(one.payment_id for one in payments if one.counts and self.marker in one.text)
        withdrawn = "payment" not in self._data
        what = f"was {self._data['reason']}" if withdrawn else "was changed"
        return _Person(
            "algapsa_cannot_take_back",
            f"Payment {self._data['quickbooks_id']} {what} in QuickBooks: {self._money(wanted)} of it is on invoice"
            f" {invoice.number} now, and AlgaPSA has {self._money(recorded)}.",
            "AlgaPSA's REST API cannot take a payment back.",
            f"In AlgaPSA, reverse {self._money(recorded - wanted)} of payment {ids} on invoice {invoice.number};"
            " then replay this delivery.",
        )

    def _own_payment(self, touched: list[str]) -> _Person:
        what = "withdrawn" if "payment" not in self._data else "changed"
        return _Person(
            "algapsa_own_payment_changed",
            f"AlgaPSA's own payment {self._data['billing_payment_id']} was {what} in QuickBooks.",
            "AlgaPSA's REST API cannot change or take back a payment.",
            f"Change it in AlgaPSA by hand on: {', '.join(touched) or 'no invoice'}; then close this exception.",
        )

    def _money(self, minor: int) -> str:
        return str(Money(minor, self._currency))


def _by_invoice(states: Iterable[PaymentState]) -> dict[str, int]:
    """What is allocated to each invoice of billing."""
    found: dict[str, int] = {}
    for share in (share for state in states for share in state.allocations):
        found[share.invoice_id] = found.get(share.invoice_id, 0) + share.amount
    return found


def _subject(tenant: str, data: dict[str, Any]) -> Subject:
    return Subject(
        tenant, "payment", data["payment_id"], "inbound", company_id=UUID(data["company"]["company_id"])
    )


def _problem(parcel: Parcel, data: dict[str, Any], person: _Person) -> Problem:
    customer = data["customer"].get("client_name") or data["customer"].get("quickbooks_customer_name") or ""
    return Problem(
        type=NOT_RECORDED,
        code=person.code,
        cause=f"{person.code}:{data['payment_id']}",
        title=f"Payment {data['quickbooks_id']} of {customer or 'a customer'} is not as it should be in AlgaPSA",
        happened=person.happened,
        why=person.why,
        fix=person.fix,
        details={
            "quickbooks_id": data["quickbooks_id"],
            "url": data.get("url"),
            "subscription_id": str(parcel.subscription_id),
            "delivery_id": str(parcel.delivery_id),
        },
        client_id=data["customer"].get("client_id"),
        amount=(data.get("payment") or data["previous"])["amount"],
        currency=data["currency"],
    )
