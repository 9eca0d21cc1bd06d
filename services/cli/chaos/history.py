"""What billing does during a run: stories of documents, the same for the same seed, and how both books must end.

A story is a few documents that belong together. The events of one document keep their order; beyond that a payment
may be told before its invoice, and all stories are told at the same time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any, Final, Literal
from uuid import UUID

CLIENTS: Final = {"cl-1": "1", "cl-2": "2", "cl-3": "3"}
"""Clients of billing and their customers in the books of a fresh sandbox company."""
SERVICES: Final = {"svc-1": "1", "svc-2": "2", "svc-3": "3"}
LATE_SERVICE: Final = "svc-late"
"""Nobody has mapped it yet when a run begins."""

_DAY: Final = "2026-11-02"
_AHEAD: Final = 40  # how many events of other stories come between two of one, at most


@dataclass(frozen=True, slots=True)
class Emission:
    """One event. `person`: its effect is done by hand, so it must end as an exception."""

    event_id: UUID
    tenant: str
    type: str
    kind: str  # of its document
    subject: str
    data: dict[str, Any]
    person: bool = False


@dataclass(slots=True)
class Expected:
    """One document as both books must have it in the end; amounts in dollars.

    `revisions` are the totals it had, oldest first. One that does not stand was voided or taken back: it is void
    in QuickBooks, or not there. `open` is what is not settled, used or applied.
    """

    tenant: str
    kind: str
    document_id: str
    number: str
    revisions: list[Decimal]
    open: Decimal = Decimal(0)
    stands: bool = True

    @property
    def total(self) -> Decimal:
        """The total it has in the end."""
        return self.revisions[-1]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Money that a bookkeeper receives in QuickBooks on an invoice.

    `amounts` are cents, the first and after every correction; `gone` is how it ends, unless it stands.
    """

    tenant: str
    client: str
    invoice_id: str
    amounts: tuple[int, ...]
    gone: Literal["", "void", "delete"] = ""
    date: str = _DAY

    @property
    def final(self) -> int:
        """What is left of it in the end."""
        return 0 if self.gone else self.amounts[-1]


@dataclass(slots=True)
class History:
    """All events in the order in which they are emitted, and all documents by (tenant, kind, id).

    `spare` are plain invoices, one event each, to be emitted whenever somebody wants one of a tenant; `receipts` is
    what happens in QuickBooks meanwhile.
    """

    emissions: list[Emission] = field(default_factory=list)
    documents: dict[tuple[str, str, str], Expected] = field(default_factory=dict)
    spare: dict[str, list[Emission]] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def all(self) -> Iterator[Emission]:
        """Every event, spare ones too."""
        yield from self.emissions
        for one in self.spare.values():
            yield from one


def tell(seed: int, documents: int, tenants: list[str], spare: int) -> History:
    """A history of so many documents over the tenants; `spare` of them are plain invoices to hand."""
    return _Teller(random.Random(seed), tenants).tell(documents, spare)  # noqa: S311 - repeatable by seed


class _Teller:
    def __init__(self, chance: random.Random, tenants: list[str]) -> None:
        self._chance = chance
        self._tenants = tenants
        self._numbers = count(1)
        self._history = History()
        self._stories: list[tuple[Callable[[str], list[Emission]], int]] = [
            (self._plain, 40),
            (self._corrected, 14),
            (self._voided, 8),
            (self._paid, 12),
            (self._moved_payment, 5),
            (self._payment_in_error, 5),
            (self._credited, 8),
            (self._credit_taken_back, 4),
            (self._late_mapping, 2),
            (self._by_hand, 2),
            (self._received, 10),
        ]

    def tell(self, documents: int, spare: int) -> History:
        known = self._history.documents
        for index in range(spare):
            tenant = self._tenants[index % len(self._tenants)]
            self._history.spare.setdefault(tenant, []).extend(self._plain(tenant))
        stories: list[list[Emission]] = []
        kinds, weights = zip(*self._stories, strict=True)
        for kind, _ in self._stories:  # each at least once
            if len(known) < documents:
                stories.append(kind(self._chance.choice(self._tenants)))
        while len(known) < documents:
            (kind,) = self._chance.choices(kinds, weights)
            stories.append(kind(self._chance.choice(self._tenants)))
        self._chance.shuffle(stories)
        self._history.emissions = self._interleaved(stories)
        return self._history

    def _interleaved(self, stories: list[list[Emission]]) -> list[Emission]:
        placed: list[tuple[float, int, Emission]] = []
        for start, story in enumerate(stories):
            place = float(start)
            for emission in story:
                placed.append((place, len(placed), emission))
                place += self._chance.random() * _AHEAD
        return [emission for _, _, emission in sorted(placed, key=lambda one: one[:2])]

    # --- stories ----------------------------------------------------------------------------------------

    def _plain(self, tenant: str) -> list[Emission]:
        return [self._invoice(tenant)[1]]

    def _corrected(self, tenant: str) -> list[Emission]:
        expected, first = self._invoice(tenant)
        told = [first]
        for _ in range(self._chance.choice((1, 1, 2, 3))):
            data = dict(first.data) | self._lines(first.data["lines"][0]["service_id"], len(told))
            told.append(self._event(tenant, "invoice.corrected.v1", "invoice", data))
            expected.revisions.append(_dollars(data["total"]))
            expected.open = expected.total
        return told

    def _voided(self, tenant: str) -> list[Emission]:
        expected, first = self._invoice(tenant)
        expected.stands, expected.open = False, Decimal(0)
        data = {
            "id": expected.document_id,
            "date": _DAY,
            "reason": "billed twice",
            "actor": {"type": "system"},
        }
        return [first, self._event(tenant, "invoice.voided.v1", "invoice", data)]

    def _paid(self, tenant: str) -> list[Emission]:
        invoice, first = self._invoice(tenant)
        part = self._chance.choice((1, 1, 2))
        amount = first.data["total"] // part
        invoice.open -= _dollars(amount)
        _, paid = self._payment(tenant, first.data["client"], amount, [(invoice.document_id, amount)])
        return self._maybe_swapped([first, paid])

    def _moved_payment(self, tenant: str) -> list[Emission]:
        one, first = self._invoice(tenant)
        other, second = self._invoice(tenant, first.data["client"])
        amount = min(first.data["total"], second.data["total"])
        payment, paid = self._payment(tenant, first.data["client"], amount, [(one.document_id, amount)])
        other.open -= _dollars(amount)
        shares = [{"invoice_id": other.document_id, "amount": amount}]
        moved = {"id": payment.document_id, "allocations": shares}
        return [first, second, paid, self._event(tenant, "payment.reallocated.v1", "payment", moved)]

    def _payment_in_error(self, tenant: str) -> list[Emission]:
        invoice, first = self._invoice(tenant)
        amount = first.data["total"]
        payment, paid = self._payment(tenant, first.data["client"], amount, [(invoice.document_id, amount)])
        payment.stands = False
        data = {"id": payment.document_id, "date": _DAY, "reason": "keyed_in_error"}
        return [first, paid, self._event(tenant, "payment.reversed.v1", "payment", data)]

    def _credited(self, tenant: str) -> list[Emission]:
        invoice, first = self._invoice(tenant)
        memo, note = self._credit_note(tenant, first.data["client"])
        amount = min(-note.data["total"], first.data["total"])
        invoice.open -= _dollars(amount)
        memo.open -= _dollars(amount)
        applied = self._application(tenant, memo, invoice, amount)
        return self._maybe_swapped([first, note, applied])

    def _credit_taken_back(self, tenant: str) -> list[Emission]:
        invoice, first = self._invoice(tenant)
        memo, note = self._credit_note(tenant, first.data["client"])
        amount = min(-note.data["total"], first.data["total"])
        applied = self._application(tenant, memo, invoice, amount)
        known = self._history.documents[tenant, "credit_application", applied.subject]
        known.stands = False
        back = self._event(tenant, "credit.unapplied.v1", "credit_application", applied.data)
        return [first, note, applied, back]

    def _late_mapping(self, tenant: str) -> list[Emission]:
        return [self._invoice(tenant, service=LATE_SERVICE)[1]]

    def _by_hand(self, tenant: str) -> list[Emission]:
        expected, first = self._invoice(tenant)
        written_off = {
            "id": expected.document_id,
            "amount": first.data["total"],
            "date": _DAY,
            "reason": "client is insolvent",
            "actor": {"type": "system"},
        }
        return [
            first,
            self._event(tenant, "invoice.written_off.v1", "invoice", written_off, person=True),
        ]

    def _received(self, tenant: str) -> list[Emission]:
        invoice, first = self._invoice(tenant)
        parts = [self._chance.choice((1, 2, 3)) for _ in range(self._chance.randint(1, 3))]
        receipt = Receipt(
            tenant,
            first.data["client"]["id"],
            invoice.document_id,
            tuple(first.data["total"] // part for part in parts),
            self._chance.choice(("", "", "void", "delete")),
        )
        self._history.receipts.append(receipt)
        invoice.open -= _dollars(receipt.final)
        return [first]

    def _maybe_swapped(self, told: list[Emission]) -> list[Emission]:
        """Sometimes what depends on the others is told first; it waits for them."""
        return told if self._chance.random() < 0.6 else [told[-1], *told[:-1]]

    # --- documents --------------------------------------------------------------------------------------

    def _invoice(
        self, tenant: str, client: dict[str, Any] | None = None, service: str = ""
    ) -> tuple[Expected, Emission]:
        number = next(self._numbers)
        data: dict[str, Any] = {
            "id": f"inv-{number}",
            "number": f"CH-{number:06d}",
            "type": "standard",
            "invoice_date": _DAY,
            "due_date": "2026-12-02",
            "finalized_at": f"{_DAY}T08:00:00+00:00",
            "currency": "USD",
            "tax_source": "internal",
            "client": client or self._client(),
            "actor": {"type": "system"},
            **self._lines(service or self._chance.choice(list(SERVICES))),
        }
        total = _dollars(data["total"])
        expected = self._expect(tenant, "invoice", data["id"], data["number"], total)
        expected.open = total
        return expected, self._event(tenant, "invoice.finalized.v1", "invoice", data)

    def _credit_note(self, tenant: str, client: dict[str, Any]) -> tuple[Expected, Emission]:
        number = next(self._numbers)
        net = -100 * self._chance.randint(1, 50)
        line = self._line(1, self._chance.choice(list(SERVICES)), 1, -net) | {
            "net_amount": net,
            "unit_price": _written(net),
        }
        data: dict[str, Any] = {
            "id": f"cn-{number}",
            "number": f"CN-{number:06d}",
            "type": "credit_note",
            "invoice_date": _DAY,
            "finalized_at": f"{_DAY}T08:00:00+00:00",
            "currency": "USD",
            "tax_source": "internal",
            "subtotal": net,
            "discount": 0,
            "tax": 0,
            "total": net,
            "reason": "service level missed",
            "client": client,
            "lines": [line],
            "actor": {"type": "system"},
        }
        expected = self._expect(tenant, "credit_note", data["id"], data["number"], _dollars(-net))
        expected.open = expected.total
        return expected, self._event(tenant, "credit_note.finalized.v1", "credit_note", data)

    def _payment(
        self, tenant: str, client: dict[str, Any], amount: int, shares: list[tuple[str, int]]
    ) -> tuple[Expected, Emission]:
        number = next(self._numbers)
        data: dict[str, Any] = {
            "id": f"pay-{number}",
            "client": client,
            "date": _DAY,
            "received_at": f"{_DAY}T12:00:00+00:00",
            "amount": amount,
            "currency": "USD",
            "method": "check",
            "reference": f"PY-{number:06d}",
            "allocations": [{"invoice_id": id_, "amount": part} for id_, part in shares],
            "status": "settled",
        }
        expected = self._expect(tenant, "payment", data["id"], data["reference"], _dollars(amount))
        return expected, self._event(tenant, "payment.recorded.v1", "payment", data)

    def _application(self, tenant: str, memo: Expected, invoice: Expected, amount: int) -> Emission:
        number = next(self._numbers)
        data: dict[str, Any] = {
            "application_id": f"app-{number}",
            "source_kind": "credit_note",
            "source_id": memo.document_id,
            "invoice_id": invoice.document_id,
            "amount": amount,
            "currency": "USD",
            "date": _DAY,
        }
        self._expect(tenant, "credit_application", data["application_id"], "", Decimal(0))
        return self._event(tenant, "credit.applied.v1", "credit_application", data)

    def _client(self) -> dict[str, Any]:
        chosen = self._chance.choice(list(CLIENTS))
        return {"id": chosen, "name": f"Client {chosen} & Söhne", "tax_exempt": True}

    def _lines(self, service: str, revision: int = 0) -> dict[str, Any]:
        """Some lines and what they add up to; another revision has another total for certain."""
        parts = [
            self._line(place, service, self._chance.randint(1, 9), self._chance.randint(100, 20_000))
            for place in range(1, self._chance.randint(2, 4))
        ]
        parts.append(self._line(len(parts) + 1, service, 1, 1_000_000 * (revision + 1)))
        net = sum(part["net_amount"] for part in parts)
        return {"lines": parts, "subtotal": net, "discount": 0, "tax": 0, "total": net}

    @staticmethod
    def _line(place: int, service: str, quantity: int, price: int) -> dict[str, Any]:
        return {
            "id": f"l{place}",
            "service_id": service,
            "description": f"Service {service}, prorated",
            "quantity": str(quantity),
            "unit_price": _written(price),
            "net_amount": quantity * price,
            "tax_amount": 0,
            "is_taxable": False,
            "is_discount": False,
        }

    def _expect(self, tenant: str, kind: str, document_id: str, number: str, total: Decimal) -> Expected:
        expected = Expected(tenant, kind, document_id, number, [total])
        self._history.documents[tenant, kind, document_id] = expected
        return expected

    def _event(
        self, tenant: str, type_: str, kind: str, data: dict[str, Any], *, person: bool = False
    ) -> Emission:
        event_id = UUID(int=self._chance.getrandbits(128), version=4)
        subject = data.get("application_id") or data["id"]
        return Emission(event_id, tenant, type_, kind, str(subject), data, person)


def _dollars(minor: int) -> Decimal:
    return Decimal(minor) / 100


def _written(minor: int) -> str:
    return str(_dollars(minor))
