"""What a cycle asks QuickBooks, question by question, until it has seen everything.

One question of the change feed is enough as long as its answer cannot have been cut. When it can, the entities are
asked for one by one; an entity that is too much by itself is read by query (what lives), and what we know of it and
did not meet is looked for by id (what was deleted). The same goes for a cursor that the feed does not reach any more.
https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/change-data-capture
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from services.quickbooks import calls, changes
from services.quickbooks.call import Call
from services.quickbooks.query import IN_LIMIT, PAGE, Select, select

ENTITIES: Final = ("Customer", "Invoice", "CreditMemo", "Payment", "RefundReceipt")
"""What one question of the feed covers."""

CAP: Final = changes.CAP
REACH: Final = timedelta(days=25)
"""How old a cursor may be for the feed, which reaches back 30 days by a clock that is not ours."""

WORTH_COUNTING: Final = 10 * IN_LIMIT
"""So many objects to look for by id, and reading all there are may be cheaper: count them first."""

Ask = Literal["feed", "changed", "known", "count", "all"]


@dataclass(frozen=True, slots=True)
class Question:
    """One question, or one that takes several pages.

    `feed`: what changed of these entities. `changed`: every living row of one entity that changed. `known`: whether
    what we know still lives, a hundred ids at a time. `count`, `all`: how many rows there are, and every one of them.
    `start`, `back` and `tail` say how far paging has come: the next position, how far to step back when rows have
    moved, and the ids of the last page (of `known`: those that are asked for). `counted`: no need to count again.
    """

    ask: Ask
    entities: tuple[str, ...]
    start: int = 1
    back: int = 1
    tail: tuple[str, ...] = ()
    counted: bool = False

    @property
    def entity(self) -> str:
        """The one entity it is about."""
        (entity,) = self.entities
        return entity

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for a jsonb column."""
        return asdict(self)


def from_json(stored: Mapping[str, Any]) -> Question:
    """The question that `to_json` wrote."""
    lists = {name: tuple(stored[name]) for name in ("entities", "tail")}
    return Question(**{**stored, **lists})


FIRST: Final = Question("feed", ENTITIES)


def one_by_one(question: Question) -> list[Question]:
    """What takes the place of a question to the feed whose answer may have been cut."""
    if len(question.entities) > 1:
        return [replace(question, entities=(entity,)) for entity in question.entities]
    return by_query(question.entities)


def by_query(entities: Sequence[str]) -> list[Question]:
    """Everything that the feed would tell of these entities, without the feed."""
    return [Question(ask, (entity,)) for entity in entities for ask in ("changed", "known")]


def cheapest(known: int, total: int) -> Ask:
    """Whether to look for `known` objects by id, or to read all `total` rows."""
    return "all" if -(-total // PAGE) < -(-known // IN_LIMIT) else "known"


def call(question: Question, since: datetime, size: int = PAGE) -> Call:
    """The call that asks the question."""
    if question.ask == "feed":
        return calls.changes(question.entities, since)
    wanted = _rows(question.entity)
    if question.ask == "count":
        return calls.count(wanted)
    if question.ask == "known":
        return calls.query(wanted.where("Id", "IN", question.tail))
    if question.ask == "changed":
        wanted = wanted.changed(since)
    return calls.query(wanted.order_by("Id").page(question.start, size))


def turn(question: Question, ids: Sequence[str], size: int = PAGE) -> Question | None:
    """The next page of a question after one with these ids; None when it was the last.

    QuickBooks pages by position, so rows that vanish move later ones up. Pages overlap by a row: one that does not
    begin with a row of the page before is asked for again from further back. A row may therefore be met twice.
    """
    if question.start > 1 and not (ids and ids[0] in question.tail):
        return replace(question, start=max(1, question.start - question.back), back=question.back * 10)
    if len(ids) < size:
        return None
    return replace(question, start=question.start + len(ids) - 1, back=1, tail=tuple(ids))


def _rows(entity: str) -> Select:
    return select(entity).with_inactive() if entity in _LISTS else select(entity)


_LISTS: Collection[str] = frozenset({"Customer"})
