"""Matching without servers: whatever the names, exact is one to one; whatever the books, confident means agreed."""

from __future__ import annotations

from collections import Counter
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from services.onboarding import customer_matches, history_matches, names
from services.onboarding.handover import Client, Document
from services.onboarding.reading import Customer, SalesForm

NAMES = st.sampled_from(
    [
        "Acme",
        "Acme Inc",
        "Acme LLC",
        "ACME, Inc.",
        "Ácme",
        "Acme & Co",
        "Acme Boston",
        "Inc",
        "LLC",
        "Store 1",
        "Store 2",
    ]
)


def planned(ours: list[str], theirs: list[tuple[str, bool]]) -> list[customer_matches.Match]:
    """The plan for names of clients and of customers (with whether they are active)."""
    return customer_matches.judged(
        [Client("client", f"c{n}", name, "", "", "") for n, name in enumerate(ours)],
        [Customer(str(n), name, "", name, active, "", "USD", "") for n, (name, active) in enumerate(theirs)],
        {},
        "USD",
    )


@given(st.lists(NAMES, max_size=6), st.lists(st.tuples(NAMES, st.booleans()), max_size=6))
def test_exact_is_one_to_one_whatever_the_names(ours: list[str], theirs: list[tuple[str, bool]]) -> None:
    """No customer is exact for two clients, none is inactive, and no other active one could have been meant."""
    exact = [match for match in planned(ours, theirs) if match.status == "exact"]
    taken = Counter(match.candidates[0].id for match in exact)
    assert set(taken.values()) <= {1}
    for match in exact:
        name, active = theirs[int(match.candidates[0].id)]
        assert active
        key = names.fold(match.client.name).key
        assert key
        assert names.same(names.fold(name), names.fold(match.client.name))
        assert sum(names.fold(other).key == key for other, used in theirs if used) == 1
        assert sum(names.fold(other).key == key for other in ours) == 1


def test_suggestions_are_ranked_with_their_evidence() -> None:
    """The most alike stands first, every one says why, and initials find the name they stand for."""
    match = planned(["Wellington Vet Clinic"], [("Wellington Vet", True), ("Welington Vet Clinic", True)])[0]
    assert [one.name for one in match.candidates] == ["Welington Vet Clinic", "Wellington Vet"]
    assert all(one.evidence for one in match.candidates)
    assert planned(["IBM"], [("International Business Machines", True)])[0].candidates[0].score == 0.7


FORM = SalesForm("Invoice", "7", "A-1", "2025-03-31", "10.00", "USD", "58", False)
OURS = Document("invoice", "d", "A-1", date(2025, 3, 31), 1000, "USD", "c", "sent")


@given(
    st.sampled_from(["A-1", "A-2", "a1", ""]),
    st.integers(998, 1002),
    st.sampled_from(["58", "59"]),
    st.sampled_from(["USD", "EUR"]),
    st.sampled_from([date(2025, 3, 31), date(2025, 4, 1)]),
    st.booleans(),
)
def test_confident_means_that_all_four_facts_agree(
    number: str, total: int, customer: str, currency: str, day: date, voided: bool
) -> None:
    """Number, total to the cent, customer and date, in the same currency and neither voided: else it is no match."""
    ours = Document("invoice", "d", number, day, total, currency, "c", "sent")
    form = SalesForm("Invoice", "7", "A-1", "2025-03-31", "10.00", "USD", "58", voided)
    links = {("customer", "c", ""): customer, ("customer", "c", "EUR"): customer}
    match = history_matches.judged([ours], [form], {}, set(), links, {}, "USD")[0]
    agree = (number, total, customer, currency, day, voided) == ("A-1", 1000, "58", "USD", OURS.date, False)
    assert (match.status == "confident") is agree


def test_sub_customers_belong_to_their_parents_client() -> None:
    """An invoice on a sub-customer of the linked customer agrees; one on a stranger does not."""
    links = {("customer", "c", ""): "50"}
    below = history_matches.judged([OURS], [FORM], {}, set(), links, {"58": "55", "55": "50"}, "USD")[0]
    strange = history_matches.judged([OURS], [FORM], {}, set(), links, {"58": "55", "55": ""}, "USD")[0]
    assert below.status == "confident"
    assert strange.found[0].reasons == ("customer_mismatch",)


def test_credit_notes_are_negated_never_made_absolute() -> None:
    """A credit note of -80 is a credit memo of 80; one of +80 is none."""
    links = {("customer", "c", ""): "58"}
    form = SalesForm("CreditMemo", "9", "C-1", "2025-03-31", "80.00", "USD", "58", False)

    def status(total: int) -> str:
        note = Document("credit_note", "n", "C-1", date(2025, 3, 31), total, "USD", "c", "sent")
        return history_matches.judged([note], [form], {}, set(), links, {}, "USD")[0].status

    assert (status(-8000), status(8000)) == ("confident", "review")
