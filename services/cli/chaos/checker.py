"""Comparing what billing said with what is there: in QuickBooks, in the ledger, and on the exception list.

It relies on no figure that the fleet keeps about itself: what must be there follows from the history alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from services.cli.chaos.evidence import Books, Ledger, LinkRow, OperationRow, ToldMoney
from services.cli.chaos.history import Emission, Expected, History, Receipt
from services.outbound import marker

_ENTITY: Final = {
    "invoice": "Invoice",
    "credit_note": "CreditMemo",
    "payment": "Payment",
    "credit_application": "Payment",
}
_OPEN: Final = {"Invoice": "Balance", "CreditMemo": "RemainingCredit", "Payment": "UnappliedAmt"}
_DONE: Final = frozenset({"succeeded", "skipped"})
_MARK: Final = re.compile(r"AS-[A-Z2-7]+")

Raw = Mapping[str, Any]


class Verdict(StrEnum):
    """What can be wrong. A run is clean when it finds none of these."""

    LOST = "lost"  # said by billing, and not in QuickBooks
    DOUBLED = "doubled"  # there more than once, or told to billing more than once
    OUT_OF_ORDER = "out_of_order"  # an earlier revision after a later one
    STUCK = "stuck"  # neither done nor given to a person
    SILENT = "silent"  # not done, and no person is told
    WRONG = "wrong"  # done, but another amount, object, link or company than billing said


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with the event or document that it is about."""

    verdict: Verdict
    tenant: str
    document: str  # "invoice/inv-7"
    event_id: UUID | None
    said: str


Found = Callable[[Verdict, str], Finding]
Key = tuple[str, str, str]
"""Tenant, kind and id of a document."""


def check(
    history: History, ledger: Ledger, books: Mapping[str, Books], acknowledged: Mapping[UUID, int]
) -> list[Finding]:
    """Everything that is wrong.

    `books` are the companies by tenant, `acknowledged` the events that the API has acknowledged, and the number among
    its document's that it gave each.
    """
    return list(_Check(history, ledger, books, acknowledged).findings())


class _Check:
    def __init__(
        self,
        history: History,
        ledger: Ledger,
        books: Mapping[str, Books],
        acknowledged: Mapping[UUID, int],
    ) -> None:
        self._acknowledged = acknowledged
        self._history = history
        self._ledger = ledger
        self._books = books
        self._operations: dict[UUID, list[OperationRow]] = defaultdict(list)  # by event
        for row in ledger.operations:
            if row.event_id is not None:
                self._operations[row.event_id].append(row)
        self._taken = {row.event_id: row for row in ledger.events}
        self._in_outbox = {row.event_id for row in ledger.outbox}
        self._dead = {row.event_id for row in ledger.letters}
        self._excused = {row.operation_id for row in ledger.exceptions}
        self._lettered = {(row.operation_id, row.attempt) for row in ledger.letters if row.shown}
        self._links: dict[Key, LinkRow] = {
            (one.tenant, one.kind, one.document_id): one for one in ledger.links
        }
        self._money: dict[tuple[str, str], list[ToldMoney]] = defaultdict(list)  # by tenant and payment
        for fact in ledger.money:
            self._money[fact.tenant, fact.quickbooks_id].append(fact)
        self._last_event: dict[Key, UUID] = {}
        for one in history.all:
            self._last_event[one.tenant, one.kind, one.subject] = one.event_id

    def findings(self) -> Iterator[Finding]:
        for emission in self._history.all:
            yield from self._event(emission)
        yield from self._leftovers()
        for tenant, books in self._books.items():
            yield from self._company(tenant, books)
            for payment_id, receipt in books.received.items():
                yield from self._receipt(receipt, self._money[tenant, payment_id], payment_id)
        yield from self._order()

    # --- every event ------------------------------------------------------------------------------------

    def _event(self, emission: Emission) -> Iterator[Finding]:
        def found(verdict: Verdict, said: str) -> Finding:
            return Finding(
                verdict, emission.tenant, f"{emission.kind}/{emission.subject}", emission.event_id, said
            )

        taken, number = self._taken.get(emission.event_id), self._acknowledged.get(emission.event_id)
        if taken is None:
            if emission.event_id in self._in_outbox:
                yield found(Verdict.STUCK, "lies in the outbox")
            elif emission.event_id in self._dead:
                yield found(Verdict.LOST, "is a dead letter")
            else:
                promised = "the outbox has forgotten it" if number is None else "the API had acknowledged it"
                yield found(Verdict.LOST, f"was never taken over, and {promised}")
            return
        if number not in (None, taken.sequence):
            said = f"was acknowledged as its document's event {number}, and it is number {taken.sequence}"
            yield found(Verdict.WRONG, said)
        if taken.state != "applied":
            yield found(Verdict.STUCK, "waits for an earlier event of its document")
            return
        if emission.event_id not in self._operations:
            yield found(Verdict.SILENT, f"{emission.type} was taken over and asked for nothing")
        for operation in self._operations.get(emission.event_id, ()):
            yield from self._outcome(emission, operation, found)

    def _outcome(self, emission: Emission, operation: OperationRow, found: Found) -> Iterator[Finding]:
        if operation.state == "failed":
            if operation.operation_id not in self._excused:
                yield found(
                    Verdict.SILENT, f"{operation.kind} failed ({operation.code}) without an exception"
                )
            if (operation.operation_id, operation.attempt) not in self._lettered:
                yield found(Verdict.SILENT, f"{operation.kind} failed without a letter on its exception")
            if not emission.person:
                yield found(Verdict.LOST, f"{operation.kind} failed: {operation.code}: {operation.reason}")
        elif emission.person:
            yield found(Verdict.SILENT, f"{operation.kind} is {operation.state}, it needs a person")
        elif operation.state not in _DONE:
            yield found(Verdict.STUCK, f"{operation.kind} is {operation.state} ({operation.code})")
        elif operation.state == "skipped":
            if not operation.reason:
                yield found(Verdict.SILENT, f"{operation.kind} was skipped without a reason")
            if operation.code == "superseded" and self._is_last(emission):
                yield found(Verdict.LOST, f"{operation.kind} was superseded by nothing")
        elif operation.told > 1:
            yield found(Verdict.DOUBLED, f"billing was told {operation.told} times of one {operation.kind}")
        elif operation.told == 0 and operation.kind.startswith("export_"):
            yield found(Verdict.SILENT, f"billing was not told of a finished {operation.kind}")

    def _is_last(self, emission: Emission) -> bool:
        return self._last_event[emission.tenant, emission.kind, emission.subject] == emission.event_id

    # --- what is left over --------------------------------------------------------------------------------

    def _leftovers(self) -> Iterator[Finding]:
        ours = {one.event_id for one in self._history.all}
        for event in self._ledger.events:
            if event.event_id not in ours:
                document = f"{event.document_kind}/{event.document_id}"
                said = "was taken over, and billing never said it: a repetition became an event of its own"
                yield Finding(Verdict.DOUBLED, event.tenant, document, event.event_id, said)
        for company in self._ledger.companies:
            if company.state != "active":
                said = f"is {company.state}, although it was connected again"
                yield Finding(Verdict.STUCK, company.tenant, f"company/{company.realm}", None, said)
        for row in self._ledger.outbox:
            if row.event_id not in ours:
                yield Finding(
                    Verdict.STUCK, row.tenant, "-", row.event_id, f"a fact for {row.exchange} was not sent"
                )
        for broken in self._ledger.violations:
            operation = f"operation {broken.operation_id}"
            yield Finding(Verdict.STUCK, broken.tenant, operation, None, f"breaks liveness: {broken.what}")
        for letter in self._ledger.letters:
            if not letter.shown:
                said = f"letter {letter.letter_id} ({letter.code}) is on no open exception"
                yield Finding(Verdict.SILENT, "-", "-", letter.event_id, said)
        failed = {row.operation_id for row in self._ledger.operations if row.state == "failed"}
        for one in self._ledger.exceptions:
            if one.operation_id not in failed:
                document = f"{one.entity_kind}/{one.entity_id}"
                said = f"an exception is open although nothing failed: {one.code}: {one.title}"
                yield Finding(Verdict.WRONG, one.tenant, document, None, said)
        for tenant, kind, subject in self._ledger.broken_timelines:
            yield Finding(Verdict.WRONG, tenant, f"{kind}/{subject}", None, "its timeline is broken")

    # --- a company's books against billing's -------------------------------------------------------------

    def _company(self, tenant: str, books: Books) -> Iterator[Finding]:
        documents = [one for one in self._history.documents.values() if one.tenant == tenant]
        marks = {marker.of(tenant, books.company_id, one.kind, one.document_id): one for one in documents}
        there: dict[Key, list[Raw]] = defaultdict(list)
        for entity, objects in books.objects.items():
            for raw in objects:
                ours = [marks[mark] for mark in _marks(raw) if mark in marks]
                if not ours and not (entity == "Payment" and raw["Id"] in books.received):
                    said = f"{entity} {raw['Id']} ({raw.get('DocNumber', '')}) is nothing that this tenant billed"
                    yield Finding(Verdict.WRONG, tenant, f"{entity}/{raw['Id']}", None, said)
                for one in ours:
                    there[one.tenant, one.kind, one.document_id].append(raw)
        for expected in documents:
            yield from self._document(expected, there[expected.tenant, expected.kind, expected.document_id])
        for (entity, id_), versions in books.versions.items():
            for mark in _marks(versions[0]):
                if mark in marks and entity == _ENTITY[marks[mark].kind]:
                    yield from self._versions(marks[mark], f"{entity} {id_}", versions)

    def _receipt(self, receipt: Receipt, told: Sequence[ToldMoney], payment_id: str) -> Iterator[Finding]:
        """What billing was told of money that a bookkeeper received, against what became of it."""

        def found(verdict: Verdict, said: str) -> Finding:
            return Finding(verdict, receipt.tenant, f"receipt/{receipt.invoice_id}", None, said)

        if sum(fact.type == "payment.received.v1" for fact in told) > 1:
            yield found(Verdict.DOUBLED, f"billing was told more than once that Payment {payment_id} came in")
        believed = told[-1].amount if told and told[-1].invoice_id == receipt.invoice_id else 0
        if not told and receipt.final:
            yield found(Verdict.LOST, f"billing never heard of Payment {payment_id}")
        elif believed != receipt.final:
            said = f"billing was last told that Payment {payment_id} puts {believed} cents on it; QuickBooks has "
            yield found(Verdict.LOST if receipt.gone else Verdict.WRONG, f"{said}{receipt.final}")

    def _document(self, expected: Expected, there: Sequence[Raw]) -> Iterator[Finding]:
        key = (expected.tenant, expected.kind, expected.document_id)
        entity = _ENTITY[expected.kind]

        def found(verdict: Verdict, said: str) -> Finding:
            return Finding(
                verdict,
                expected.tenant,
                f"{expected.kind}/{expected.document_id}",
                self._last_event[key],
                said,
            )

        live = [raw for raw in there if not _is_void(raw)]
        if len(there) > 1:
            yield found(Verdict.DOUBLED, f"is {entity} {', '.join(raw['Id'] for raw in there)}")
        if not expected.stands:
            for raw in live:
                yield found(Verdict.LOST, f"was taken back by billing and stands as {entity} {raw['Id']}")
            return
        if not live:
            yield found(Verdict.LOST, f"{expected.number} is not in QuickBooks")
            return
        for raw in live:
            yield from self._amounts(expected, entity, raw, found)
        link = self._links.get(key)
        if link is None:
            yield found(Verdict.LOST, f"is {entity} {live[0]['Id']}, and its link is lost")
        elif (link.external_type, link.external_id) not in {(entity, raw["Id"]) for raw in live}:
            yield found(
                Verdict.WRONG, f"is linked to {link.external_type} {link.external_id}, which it is not"
            )
        elif link.state != "synced" or link.total != expected.total:
            said = f"its link says {link.state}, {link.total}; billing says {expected.total}"
            yield found(Verdict.WRONG, said)

    def _amounts(self, expected: Expected, entity: str, raw: Raw, found: Found) -> Iterator[Finding]:
        total = _decimal(raw["TotalAmt"])
        if total != expected.total:
            yield found(
                Verdict.WRONG, f"{entity} {raw['Id']} amounts to {total}; billing says {expected.total}"
            )
        still_open = _decimal(raw.get(_OPEN[entity], raw.get("Balance", 0)))
        if still_open != expected.open:
            yield found(
                Verdict.WRONG, f"{entity} {raw['Id']} has {still_open} open; billing says {expected.open}"
            )
        named = raw.get("PaymentRefNum" if entity == "Payment" else "DocNumber", "")
        if named != expected.number:
            yield found(
                Verdict.WRONG, f"{entity} {raw['Id']} is named {named!r}; billing says {expected.number!r}"
            )

    # --- order ------------------------------------------------------------------------------------------

    def _order(self) -> Iterator[Finding]:
        """Each document's own events, as its timeline says that they were carried out."""
        revisions: dict[Key, list[int]] = defaultdict(list)
        for step in self._ledger.steps:
            revisions[step.tenant, step.document_kind, step.document_id].append(step.revision)
        for (tenant, kind, document_id), carried_out in revisions.items():
            if carried_out != sorted(carried_out):
                said = f"its events were carried out in the order {carried_out}"
                yield Finding(Verdict.OUT_OF_ORDER, tenant, f"{kind}/{document_id}", None, said)

    def _versions(self, expected: Expected, name: str, versions: Sequence[Raw]) -> Iterator[Finding]:
        """The totals that an object has had: in the order of the revisions, and none that billing never said."""
        place = {total: index for index, total in enumerate(expected.revisions)}
        totals = [_decimal(body["TotalAmt"]) for body in versions if not _is_void(body)]
        seen = [place[total] for total in totals if total in place]
        document = f"{expected.kind}/{expected.document_id}"
        if seen != sorted(seen):
            said = f"{name} has had the totals {', '.join(map(str, totals))}"
            yield Finding(Verdict.OUT_OF_ORDER, expected.tenant, document, None, said)
        for total in dict.fromkeys(totals):
            if total not in place:
                said = f"{name} once amounted to {total}, which billing never said"
                yield Finding(Verdict.WRONG, expected.tenant, document, None, said)


def _marks(raw: Raw) -> list[str]:
    return _MARK.findall(str(raw.get("PrivateNote", "")))


def _is_void(raw: Raw) -> bool:
    return str(raw.get("PrivateNote", "")).startswith("Voided")


def _decimal(value: object) -> Decimal:
    return Decimal(str(value))
