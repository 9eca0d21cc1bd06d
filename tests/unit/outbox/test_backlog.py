"""The relay's memory: fair between tenants, within their limits, and never ahead of what PostgreSQL said."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from outbox.backlog import DUE, Backlog
from outbox.store import START, Claim, Event, Position, Stream, Wanted


def billing(tenant: str) -> Stream:
    """The billing stream of a tenant."""
    return Stream(tenant, "billing")


def rows(stream: Stream, first: int, count: int) -> list[Event]:
    """Claimed events of one stream, numbered from `first` on."""
    return [
        Event(f"{stream.tenant}-{n}", *stream, 1, n, "invoice.voided.v1", b"{}", None)
        for n in range(first, first + count)
    ]


def take(backlog: Backlog, batch: int) -> list[Wanted]:
    """The next batch; nothing when there is no work at this moment."""
    work = backlog.take(batch, 0)
    assert work != DUE
    return list(work or ())


def publish(backlog: Backlog, batch: int, left: dict[Stream, int]) -> dict[Stream, int] | None:
    """Let the broker take a whole batch out of `left`; returns how many of each stream went, None without work."""
    wanted = take(backlog, batch)
    if not wanted:
        return None
    events: list[Event] = []
    went: dict[Stream, int] = {}
    for stream, _, room in wanted:
        size = min(room, left[stream])
        events += rows(stream, 1_000_000 - left[stream], size)
        left[stream] -= size
        if size:
            went[stream] = size
    arrived = {event.event_id: event.tenant for event in events if event.exchange == "billing"}
    backlog.settled(wanted, Claim(events, went, dict.fromkeys(went, Position(1, 1))), arrived, put_back=False)
    return went


@settings(deadline=None, max_examples=40)
@given(
    backlogs=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    limit=st.integers(1, 300),
    batch=st.integers(1, 200),
)
def test_no_tenant_exceeds_its_limit_and_none_is_forgotten(
    backlogs: list[int], limit: int, batch: int
) -> None:
    """Whatever the backlogs, each tenant publishes exactly up to its limit, and goes on when events are taken over."""
    backlog = Backlog(limit, 0)
    left = {billing(f"t{number}"): size for number, size in enumerate(backlogs)}
    backlog.noticed(dict.fromkeys(left, START))
    total = sum(backlogs)
    published = 0
    while published < total:
        round_total: dict[Stream, int] = {}
        while (went := publish(backlog, batch, left)) is not None:
            for stream, count in went.items():
                round_total[stream] = round_total.get(stream, 0) + count
        assert round_total, "work is left and nobody is offered it"
        assert all(count <= limit for count in round_total.values())
        published += sum(round_total.values())
        backlog.arrived(backlog.oldest_under_way(1_000_000))
        resting = backlog.resting()
        backlog.checked(resting, {stream for stream in resting if left[stream]})
    assert not any(left.values())
    assert backlog.under_way == 0


def test_a_large_backlog_does_not_delay_a_small_tenant() -> None:
    """A tenant with one event behind another's 20,000 is in the very next batch."""
    backlog = Backlog(100_000, 0)
    big, small = billing("big"), billing("small")
    left = {big: 20_000, small: 1}
    backlog.noticed({big: START})
    publish(backlog, 100, left)
    backlog.noticed({small: START})
    went = publish(backlog, 100, left) or {}
    assert went[small] == 1
    assert went[big] > 0


def test_the_limit_holds_billing_back_and_not_our_answers() -> None:
    """Accounting events leave although their tenant has all it may have of billing events under way."""
    backlog = Backlog(5, 0)
    bills, answers = billing("t"), Stream("t", "accounting")
    left = {bills: 50, answers: 50}
    backlog.noticed({bills: START, answers: START})
    backlog.gathered()
    while publish(backlog, 20, left) is not None:
        pass
    assert left == {bills: 45, answers: 0}


def test_our_answers_are_gathered_and_leave_together() -> None:
    """Answers of three tenants, noticed one after the other, are one batch; bills do not wait for it."""
    backlog = Backlog(5, 0)
    answers = [Stream(f"t{number}", "accounting") for number in range(3)]
    for stream in answers:
        backlog.noticed({stream: START})
    backlog.noticed({billing("t"): START})
    assert [one.stream for one in take(backlog, 100)] == [billing("t")]
    backlog.gathered()
    assert {one.stream for one in take(backlog, 100)} == set(answers)


def test_answers_wait_for_others_no_longer_than_told() -> None:
    """Before their time nothing is ready, however often it is asked."""
    backlog = Backlog(5, gather=3600)
    backlog.noticed({Stream("t", "accounting"): START})
    backlog.gathered()
    assert not take(backlog, 10)


def test_answers_noticed_while_their_batch_is_out_are_gathered_again() -> None:
    """They are neither forgotten nor a batch of their own at once."""
    backlog, answers = Backlog(5, 0), Stream("t", "accounting")
    backlog.noticed({answers: START})
    backlog.gathered()
    wanted = take(backlog, 10)
    backlog.noticed({answers: Position(3, 0)})
    claim = Claim(rows(answers, 1, 2), {answers: 2}, {answers: Position(7, 2)})
    backlog.settled(wanted, claim, {}, put_back=False)
    assert not take(backlog, 10)
    backlog.gathered()
    assert take(backlog, 10)[0].floor == Position(3, 0)


def test_what_is_noticed_while_a_batch_is_out_is_looked_at_again() -> None:
    """A late commit below the place a lane reached moves the floor back down to it."""
    backlog, stream = Backlog(100, 0), billing("t")
    backlog.noticed({stream: START})
    wanted = take(backlog, 10)
    backlog.noticed({stream: Position(3, 0)})
    claim = Claim(rows(stream, 1, 2), {stream: 2}, {stream: Position(7, 2)})
    backlog.settled(wanted, claim, {}, put_back=False)
    assert take(backlog, 10)[0].floor == Position(3, 0)


def test_floors_do_not_move_past_what_was_put_back() -> None:
    """When the broker did not answer for part of a batch, the whole of it is read again."""
    backlog, stream = Backlog(100, 0), billing("t")
    backlog.noticed({stream: Position(2, 5)})
    wanted = take(backlog, 10)
    claim = Claim(rows(stream, 1, 10), {stream: 10}, {stream: Position(9, 9)})
    backlog.settled(wanted, claim, {}, put_back=True)
    assert take(backlog, 10)[0].floor == Position(2, 5)


def test_a_rolled_back_batch_is_offered_again() -> None:
    """A lane that lost its database connection leaves its streams to whoever comes next."""
    backlog, stream = Backlog(100, 0), billing("t")
    backlog.noticed({stream: START})
    backlog.given_back(take(backlog, 10))
    assert take(backlog, 10)[0].stream == stream


def test_a_stream_read_to_its_end_rests_until_it_is_checked() -> None:
    """Only PostgreSQL says that a stream is empty: rows another relay holds are not seen by claiming."""
    backlog, stream = Backlog(100, 0), billing("t")
    backlog.noticed({stream: START})
    wanted = take(backlog, 10)
    backlog.settled(wanted, Claim(), {}, put_back=False)
    assert take(backlog, 10) == []
    assert backlog.resting() == {stream: START}
    backlog.checked([stream], {stream})
    assert take(backlog, 10)[0].stream == stream


def test_counting_afresh_frees_or_fills_tenants() -> None:
    """What the database says is under way replaces what was remembered, with a new share of the limit."""
    backlog, stream = Backlog(2, 0), billing("t")
    backlog.reload({"a": "t", "b": "t"}, limit=2)
    backlog.noticed({stream: START})
    assert take(backlog, 10) == []
    backlog.reload({"a": "t"}, limit=2)
    assert take(backlog, 10)[0].room == 1


def test_every_event_under_way_is_asked_about_in_turn() -> None:
    """A few events that never arrive do not keep the sweep from the others."""
    backlog = Backlog(100, 0)
    backlog.published({str(number): "t" for number in range(5)})
    assert backlog.oldest_under_way(3) == ["0", "1", "2"]
    assert backlog.oldest_under_way(3) == ["3", "4", "0"]
