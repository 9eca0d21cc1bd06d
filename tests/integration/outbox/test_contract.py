"""Emit in SQL knows the contract of messages/, and judges as it does."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import messages
from messages import CATALOG, samples
from tests.integration.outbox import contract
from tests.integration.outbox.events import Session, billing_system, emit_data

SAMPLES = [json.loads(samples.read(name)) for name in samples.names() if ".billing." in name]


@pytest.fixture(scope="module")
def psa(module_database_url: str) -> Iterator[Session]:
    """A session that may emit."""
    with billing_system(module_database_url) as session:
        yield session


def test_the_database_knows_every_event_and_field(module_database_url: str) -> None:
    """A new event, field or currency in messages/ needs a migration; this says which rows it must bring."""
    with psycopg.connect(module_database_url) as session:
        types = {row[0]: row for row in session.execute("SELECT * FROM algasync.event_type")}
        fields = {row[:2]: row for row in session.execute("SELECT * FROM algasync.event_field")}
    wanted_types = {row.type: tuple(row) for row in contract.types()}
    wanted_fields = {
        row[:2]: (*row[:5], list(row.allowed) if row.allowed else None) for row in contract.fields()
    }
    hint = f"bring the database up to messages/ with a migration; all rows as they should be:\n{contract.statements()}"
    assert types == wanted_types, hint
    assert fields == wanted_fields, hint


def accepted(psa: Session, type_: str, subject: str, data: Any) -> str | None:
    """None when emit takes it, else what it said; nothing stays in the database."""
    try:
        with psa.transaction(force_rollback=True):
            emit_data(psa, "t1", type_, subject, data)
    except psycopg.errors.InvalidParameterValue as refused:
        return str(refused.diag.message_primary)
    return None


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample['type'][20:]}-{sample['subject']}")
def test_emit_takes_every_sample(psa: Session, sample: dict[str, Any]) -> None:
    """What messages/ shows as right is right in SQL too."""
    assert accepted(psa, sample["type"], sample["subject"], sample["data"]) is None


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**54), 2**54),
    st.sampled_from((0, -1, 1, 10**12)),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text("ab -.:0123456789TZ\n\t", max_size=12),
    st.sampled_from(
        (
            "2026-02-28",
            "2026-02-29",
            "2024-02-29",
            "0000-01-01",
            "2026-13-01",
            "2026-03-31T00:00:00Z",
            "2026-03-31T19:00:00-07:00",
            "2026-03-31T24:00:00Z",
            "2026-03-31t01:02:03.123456789+23:59",
            "12.5",
            "-12.5",
            "1e3",
            "0",
            "-0",
            "0.00000000001",
            "USD",
            "usd",
            "EURO",
            "XXX",
            "",
            " ",
            " x",
            "a b",
            "a\x7fb",
            "settled",
            "internal",
            "invoice",
            "ü" * 200,
            "x" * 201,
        )
    ),
    st.builds(list),
    st.builds(dict),
    st.builds(lambda: [{}]),
    st.builds(lambda: ["x"]),
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place within a JSON value."""
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for key, child in children:
        yield (*here, key)
        yield from paths(child, (*here, key))


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, Any]:
    """A sample with up to three things changed, removed, nudged or doubled."""
    sample = draw(st.sampled_from(SAMPLES))
    data = copy.deepcopy(sample["data"])
    for _ in range(draw(st.integers(1, 3))):
        places = list(paths(data))
        if not places:
            break
        *above, last = draw(st.sampled_from(places))
        parent = data
        for key in above:
            parent = parent[key]
        act = draw(st.sampled_from(("replace", "remove", "nudge", "double", "unknown")))
        if act == "remove":
            del parent[last]
        elif act == "nudge" and type(parent[last]) is int:
            parent[last] += draw(st.sampled_from((-1, 1, 100, -100)))
        elif act == "double" and isinstance(parent[last], list) and parent[last]:
            parent[last].append(copy.deepcopy(parent[last][0]))
        elif act == "unknown" and isinstance(parent, dict):
            parent["something_new"] = draw(ODD)
        else:
            parent[last] = draw(ODD)
    return sample["type"], data


@settings(max_examples=800, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=mutated())
def test_sql_and_python_judge_alike(psa: Session, case: tuple[str, Any]) -> None:
    """Whoever emits, and in whatever language, the same data is right or wrong."""
    type_, data = case
    by_python = messages.problems(type_, data)
    subject = data.get(CATALOG[type_].model.id_field)
    by_sql = accepted(psa, type_, subject if isinstance(subject, str) else "x", data)
    event("refused" if by_python else "taken")
    assert (by_sql is None) == (not by_python), f"Python: {by_python}\nSQL: {by_sql}\n{json.dumps(data)}"


def test_every_problem_is_named_with_its_field(psa: Session) -> None:
    """One refusal lists all that is wrong, each with the path of its field and what to send instead."""
    sample = next(sample for sample in SAMPLES if sample["type"].endswith("invoice.finalized.v1"))
    data = copy.deepcopy(sample["data"])
    data["lines"][0]["net_amount"] = 12.5
    data["invoice_date"] = "2026-03-31T19:00:00Z"
    del data["client"]["name"]
    said = accepted(psa, sample["type"], sample["subject"], data)
    assert said is not None
    assert "data.lines[0].net_amount is 12.5; send an integer of minor units" in said
    assert 'data.invoice_date is "2026-03-31T19:00:00Z", an instant; send the date alone' in said
    assert "data.client.name is missing; send it" in said
