"""Paging through what changes meanwhile: no row that lives is missed, and paging ends."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from services.inbound import asking
from services.inbound.asking import FIRST, Question


@given(
    rows=st.integers(0, 60),
    size=st.integers(2, 9),
    vanishing=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), max_size=25),
)
def test_no_living_row_is_missed_while_others_vanish(
    rows: int, size: int, vanishing: list[tuple[int, int]]
) -> None:
    """QuickBooks pages by position: rows that vanish move later ones up, behind the page that was read."""
    living = [f"{number:03}" for number in range(rows)]
    lasting = set(living) - {f"{number:03}" for _, number in vanishing}
    question: Question | None = Question("all", ("Payment",))
    met: set[str] = set()
    turns = 0
    while question is not None:
        page = living[question.start - 1 : question.start - 1 + size]
        met |= set(page)
        gone = {f"{number:03}" for at, number in vanishing if at == turns}
        living = [id_ for id_ in living if id_ not in gone]
        question = asking.turn(question, page, size)
        turns += 1
        assert turns < 1_000
    assert lasting <= met


@given(
    start=st.integers(1, 9), back=st.integers(1, 9), tail=st.lists(st.text(max_size=5)), counted=st.booleans()
)
def test_a_question_survives_being_written_down(
    start: int, back: int, tail: list[str], counted: bool
) -> None:
    """A worker that takes a cycle over asks exactly what was left."""
    question = Question("known", ("Payment",), start, back, tuple(tail), counted)
    assert asking.from_json(json.loads(json.dumps(question.to_json()))) == question


def test_a_full_answer_is_asked_for_again_in_parts() -> None:
    """Entity by entity, and one entity by query and by id; nothing is left out."""
    parts = asking.one_by_one(FIRST)
    assert [part.entities for part in parts] == [(entity,) for entity in asking.ENTITIES]
    assert [part.ask for part in asking.one_by_one(parts[0])] == ["changed", "known"]


@given(known=st.integers(0, 10**6), total=st.integers(0, 10**6))
def test_the_cheaper_way_is_taken(known: int, total: int) -> None:
    """A hundred ids a read, or a thousand rows a read."""
    by_id, all_ = -(-known // 100), -(-total // 1000)
    assert asking.cheapest(known, total) == ("all" if all_ < by_id else "known")
