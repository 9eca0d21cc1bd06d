"""Handler of `poll`: one cycle of a company's change feed.

Every question is one call of the operation, written down before it is made like any other; its answer, the changes in
it and what they open commit in one transaction. So a cycle goes on where a dead worker left it. The cursor moves with
the last answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from services.connections import companies
from services.inbound import asking, cycles, filing, sightings
from services.inbound.asking import Question
from services.inbound.cycles import Cycle
from services.inbound.sightings import Sighting
from services.ledger.operations import Operation
from services.ledger.ports import Done, Found, Look, Prepared, Problem, Send, Settled
from services.quickbooks.errors import QuickBooksError, Refused
from services.quickbooks.query import IN_LIMIT, PAGE
from services.quickbooks.reply import Reply

KIND = "poll"
QUEUE = "inbound_poll"
FEED = "change_feed"
"""What a poll is about, in timeline and exceptions: the feed of a company, by the company's id."""

POLL_FAILED = "accounting_sync_poll_failed"

_NOW = text("SELECT clock_timestamp()")


class Poll:
    """Reads what changed in a company."""

    kind = KIND
    queue = QUEUE
    needs_auto_sync = False  # whoever opens the cycle has looked

    def __init__(self, *, cap: int = asking.CAP, size: int = PAGE, lag: timedelta = cycles.LAG) -> None:
        """`cap` is how many objects an answer of the feed holds at most, `size` the rows of a page, `lag` how long
        what was written may take to show in a query.
        """
        self._cap = cap
        self._size = size
        self._lag = lag

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Ask the next question; without one the cycle is complete."""
        cycle = cycles.of_operation(connection, operation.operation_id)
        now: datetime = connection.execute(_NOW).scalar_one()
        within, how = _within_reach(cycle, now)
        questions = self._next(connection, cycle, within)
        cycles.asking_for(connection, cycle, questions, how)
        if not questions:
            cycles.complete(connection, operation.operation_id, self._lag)
            return Done("complete", "everything that changed was seen")
        return Send(asking.call(questions[0], cycle.asked_from, self._size))

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """File what the answer shows and say what is left to ask."""
        cycle = cycles.of_operation(connection, operation.operation_id)
        asked, *rest = cycle.questions
        company = companies.get(connection, cycle.company_id)
        found, following, how = self._read(connection, cycle, asked, reply)
        outcomes = filing.file(connection, company, cycle.number, found)
        questions = self._next(connection, cycle, [*following, *rest])
        cycles.answered(
            connection,
            cycle,
            time=reply.time,
            sightings=found,
            outcomes=outcomes,
            questions=questions,
            resolution=how,
            reads=reply.call.reads,
        )
        if not questions:
            cycles.complete(connection, operation.operation_id, self._lag)
        return Settled({}, again=bool(questions))

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> None:
        """Nothing that QuickBooks holds explains a refused question."""

    def refused(self, connection: Connection, operation: Operation, refusal: QuickBooksError) -> Problem:
        """The cycle is not complete, and says so; the next one asks again from the same cursor."""
        said = refusal.fault.label if refusal.fault is not None else str(refusal)
        cycles.incomplete(connection, operation.operation_id, said)
        return Problem(
            type=POLL_FAILED,
            code="feed_refused",
            cause=f"feed_refused:{operation.company_id}",
            title="QuickBooks does not tell what changed",
            happened=f"QuickBooks refused the question for changes: {said}",
            why="Until it answers, payments and edits made in QuickBooks do not reach billing. None is lost: the next "
            "cycle asks from the same moment on.",
            fix="Check the company in QuickBooks; the question is asked again by itself.",
            details={"intuit_tid": refusal.intuit_tid},
        )

    def find(self, operation: Operation, look: Look) -> Found:
        """A question has no effect that could stand already: ask it again."""
        return Found()

    def _read(
        self, connection: Connection, cycle: Cycle, asked: Question, reply: Reply
    ) -> tuple[list[Sighting], list[Question], list[str]]:
        """What an answer shows, what it leaves to ask, and how it was completed."""
        if asked.ask == "feed":
            return self._read_feed(asked, reply)
        if asked.ask == "count":
            known = cycles.missing(connection, cycle, asked.entity, 1, self._lag).total
            way = asking.cheapest(known, reply.count)
            how = f"{asked.entity}: {known} to find among {reply.count}"
            then = [Question("all", asked.entities)] if way == "all" else []
            return [], [*then, Question("known", asked.entities, counted=True)], [how]
        found = sightings.of_query(reply)
        ids = [sighting.id for sighting in found]
        if asked.ask == "known":
            cycles.met(connection, cycle, asked.entity, asked.tail)
            absent = sightings.gone(asked.entity, sorted(set(asked.tail) - set(ids)))
            return [*found, *absent], [replace(asked, tail=(), counted=True)], []
        following = asking.turn(asked, ids, self._size)
        cycles.met(connection, cycle, asked.entity, ids)
        return found, [following] if following is not None else [], []

    def _read_feed(self, asked: Question, reply: Reply) -> tuple[list[Sighting], list[Question], list[str]]:
        found = sightings.of_feed(reply)
        if len(found) < self._cap and sightings.announced(reply) <= len(found):
            return found, [], []
        instead = asking.one_by_one(asked)
        way = "asked one by one" if len(asked.entities) > 1 else "read by query and looked for by id"
        return found, instead, [f"{', '.join(asked.entities)}: {len(found)} objects in one answer, {way}"]

    def _next(self, connection: Connection, cycle: Cycle, questions: Sequence[Question]) -> list[Question]:
        """The questions that are left, the first of them ready to be asked."""
        left = list(questions)
        while left and left[0].ask == "known":
            first = left[0]
            missing = cycles.missing(connection, cycle, first.entity, IN_LIMIT, self._lag)
            if missing.total > asking.WORTH_COUNTING and not first.counted:
                return [Question("count", first.entities), *left[1:]]
            if missing.ids:
                return [replace(first, tail=tuple(missing.ids)), *left[1:]]
            left = left[1:]
        return left


def _within_reach(cycle: Cycle, now: datetime) -> tuple[list[Question], list[str]]:
    """The questions of a cycle, without the feed when it does not reach back so far; and what was done about it."""
    questions = cycle.questions
    feeds = [question for question in questions if question.ask == "feed"]
    if not feeds or now - cycle.asked_from <= asking.REACH:
        return questions, []
    entities = [entity for question in feeds for entity in question.entities]
    others = [question for question in questions if question.ask != "feed"]
    how = f"{', '.join(entities)}: {cycle.asked_from:%Y-%m-%d} is beyond the feed, read by query and looked for by id"
    return [*asking.by_query(entities), *others], [how]
