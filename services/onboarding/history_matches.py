"""Which document in QuickBooks an invoice or credit note of ours may be.

By number, total, customer and date: all four make it confident, a difference makes it a review with its reasons.
Every state counts, because an overdue or half-paid invoice is as much in the books as a paid one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from messages.money import to_decimal, to_minor
from services.mapping.mappings import Key
from services.onboarding.customer_matches import variants
from services.onboarding.handover import NOT_YET, VOIDED, Document
from services.onboarding.reading import SalesForm

ENTITIES = {"invoice": "Invoice", "credit_note": "CreditMemo"}
LONGEST_NUMBER = 21  # of a DocNumber; a longer one was cut by whoever entered it

Status = Literal["linked", "confident", "review", "none"]

REASONS = {
    "number_collision": "several documents share the number",
    "number_differs": "the number is written differently",
    "total_mismatch": "the totals differ",
    "customer_mismatch": "it belongs to another customer",
    "customer_not_linked": "the client is not linked to a customer yet",
    "date_mismatch": "the dates differ",
    "currency_mismatch": "the currencies differ",
    "voided_in_quickbooks": "it is voided in QuickBooks and not here",
    "voided_here": "it is voided here and not in QuickBooks",
}
"""Why a match needs a look, in words."""


@dataclass(frozen=True, slots=True)
class Found:
    """A document in QuickBooks that may be ours, and what speaks against it (words of `REASONS`)."""

    entity: str
    id: str
    number: str
    day: str
    total: Decimal
    customer: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What is known of one document of ours; `found` has one entry when it is confident."""

    document: Document
    status: Status
    why: str
    found: tuple[Found, ...] = ()


def judged(
    listed: Sequence[Document],
    forms: Sequence[SalesForm],
    ours: Mapping[tuple[str, str], str],
    theirs: set[tuple[str, str]],
    customer_links: Mapping[Key, str],
    parents: Mapping[str, str],
    home: str,
) -> list[Match]:
    """The matches of the documents listed.

    `ours` says where documents are linked, `theirs` which objects are taken, `customer_links` which customer a client
    is, `parents` which customer stands above another.
    """
    return _Matching(forms, ours, theirs, customer_links, parents, home).of(listed)


def count(matches: Iterable[Match]) -> dict[str, int]:
    """How many documents are in each status, and how many reviews each reason has."""
    found = Counter[str]({"linked": 0, "confident": 0, "review": 0, "none": 0})
    for one in matches:
        found[one.status] += 1
        if one.status == "review":
            found.update(
                f"review: {reason}" for reason in {why for there in one.found for why in there.reasons}
            )
    return dict(found)


class _Matching:
    def __init__(
        self,
        forms: Sequence[SalesForm],
        ours: Mapping[tuple[str, str], str],
        theirs: set[tuple[str, str]],
        customer_links: Mapping[Key, str],
        parents: Mapping[str, str],
        home: str,
    ) -> None:
        self._ours = ours
        self._links = customer_links
        self._parents = parents
        self._home = home
        self._free = [form for form in forms if (form.entity, form.id) not in theirs]
        self._by_number = defaultdict[tuple[str, str], list[SalesForm]](list)
        self._by_loose = defaultdict[tuple[str, str], list[SalesForm]](list)
        for form in self._free:
            if form.number.strip():
                self._by_number[form.entity, form.number.strip()].append(form)
                self._by_loose[form.entity, _loose(form.number)].append(form)
        self._by_facts = defaultdict[tuple[str, str, str, Decimal], list[SalesForm]](list)
        for form in self._free:
            self._by_facts[form.entity, form.customer, form.day, Decimal(form.total)].append(form)

    def of(self, listed: Sequence[Document]) -> list[Match]:
        rivals = Counter((one.kind, one.number.strip()) for one in listed if _counts(one))
        return [self._one(document, rivals) for document in listed]

    def _one(self, document: Document, rivals: Mapping[tuple[str, str], int]) -> Match:
        linked = self._ours.get((document.kind, document.id))
        if linked is not None:
            return Match(document, "linked", f"linked to {linked}")
        if not _counts(document):
            return Match(document, "none", f"a document that is {document.state} is in no books yet")
        entity, number = ENTITIES[document.kind], document.number.strip()
        same = self._by_number.get((entity, number), []) if number else []
        shared = len(same) > 1 or rivals[document.kind, number] > 1
        found = [self._judged(document, form, "number_collision" if shared else "") for form in same]
        if not found:
            loose = self._by_loose.get((entity, _loose(number)), []) if number else []
            loose = loose or self._by_facts.get(self._facts(document), [])
            found = [self._judged(document, form, "number_differs") for form in loose]
        if not found:
            return Match(document, "none", "QuickBooks has nothing of this number")
        if len(found) == 1 and not found[0].reasons:
            return Match(document, "confident", "number, total, customer and date agree", (found[0],))
        found.sort(key=lambda one: (len(one.reasons), one.id))
        why = "; ".join(dict.fromkeys(REASONS[reason] for one in found for reason in one.reasons))
        return Match(document, "review", why, tuple(found))

    def _judged(self, document: Document, form: SalesForm, first: str) -> Found:
        reasons = [first] if first else []
        total, customer = Decimal(form.total), self._customer(document)
        if (form.currency or self._home) != document.currency:
            reasons.append("currency_mismatch")
        elif form.voided != (document.state in VOIDED):
            reasons.append("voided_in_quickbooks" if form.voided else "voided_here")
        elif not form.voided and to_minor(total, document.currency) != _positive(document):
            reasons.append("total_mismatch")
        if customer is None:
            reasons.append("customer_not_linked")
        elif not self._belongs(form.customer, customer):
            reasons.append("customer_mismatch")
        if form.day != document.date.isoformat():
            reasons.append("date_mismatch")
        return Found(form.entity, form.id, form.number, form.day, total, form.customer, tuple(reasons))

    def _customer(self, document: Document) -> str | None:
        for variant in variants(document.currency, self._home):
            found = self._links.get(("customer", document.client_id, variant))
            if found is not None:
                return found
        return None

    def _belongs(self, customer: str, linked: str) -> bool:
        """Whether a document's customer is the linked one or a sub-customer of it."""
        for _ in range(6):  # five levels, and an end should the data ever have a ring
            if customer == linked:
                return True
            customer = self._parents.get(customer, "")
        return False

    def _facts(self, document: Document) -> tuple[str, str, str, Decimal]:
        total = to_decimal(_positive(document), document.currency)
        customer = self._customer(document) or ""
        return (ENTITIES[document.kind], customer, document.date.isoformat(), total)


def _counts(document: Document) -> bool:
    return document.state not in NOT_YET


def _positive(document: Document) -> int:
    """The total as QuickBooks writes it: credit notes negated, never made absolute."""
    return -document.total if document.kind == "credit_note" else document.total


def _loose(number: str) -> str:
    """A number as people retype it: without case, spaces, dashes, and cut where QuickBooks cuts it."""
    return "".join(filter(str.isalnum, number.strip()[:LONGEST_NUMBER].casefold()))
