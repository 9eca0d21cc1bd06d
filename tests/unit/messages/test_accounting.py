"""What we tell billing is as exact as what we ask of billing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from messages import CATALOG, lookup, problems, samples, validate

ACCOUNTING = "com.algapsa.accounting."


def told(name: str, **changes: Any) -> dict[str, Any]:
    """Return the data of an accounting sample, changed at will."""
    data: dict[str, Any] = json.loads(samples.read(ACCOUNTING + name))["data"]
    return data | changes


def test_every_event_names_a_cause() -> None:
    """An event that nobody can trace back is not sent."""
    (problem,) = problems(ACCOUNTING + "payment.received.v1", told("payment.received.v1", cause={}))
    assert str(problem) == ("data.cause.event_id is missing, and so is every other cause; name at least one")


@pytest.mark.parametrize("name", sorted(name for name in CATALOG if name.startswith(ACCOUNTING)))
def test_every_event_names_its_company(name: str) -> None:
    """Both our id and Intuit's are required, except on an exception that concerns no company yet."""
    fields = lookup(name).model.model_fields
    assert "company" in fields
    assert fields["company"].is_required() == ("exception" not in name)


@pytest.mark.parametrize(
    ("name", "kind", "id_path"),
    [
        ("document.synced.v1", "invoice", ("document", "billing_id")),
        ("document.synced.v1.client", "client", ("document", "billing_id")),
        ("document.tax_computed.v1", "invoice", ("document", "billing_id")),
        ("payment.changed.v1", "payment", ("payment_id",)),
        ("credit.applied_in_quickbooks.v1", "credit_application", ("application_id",)),
        ("credit.withdrawn_in_quickbooks.v1", "credit_application", ("application_id",)),
        ("exception.opened.v1", "exception", ("exception_id",)),
        ("connection.restored.v1", "connection", ("company", "company_id")),
    ],
)
def test_subjects(name: str, kind: str, id_path: tuple[str, ...]) -> None:
    """Events about one thing share its key, so that a reader can keep them in order."""
    data = told(name)
    expected: Any = data
    for step in id_path:
        expected = expected[step]
    type_name = ACCOUNTING + name.removesuffix(".client")
    assert validate(type_name, data).key == (kind, expected)


def test_computed_tax_adds_up() -> None:
    """Per component, per line and in total: the draft takes these figures over as they are."""
    name = "document.tax_computed.v1"
    good = told(name)
    first = good["lines"][0]
    fewer = [first | {"components": first["components"][:1]}, *good["lines"][1:]]
    assert [problem.field for problem in problems(ACCOUNTING + name, good | {"lines": fewer})] == [
        "data.lines[0].components"
    ]
    assert [problem.field for problem in problems(ACCOUNTING + name, good | {"tax": good["tax"] + 1})] == [
        "data.tax",
        "data.total",
    ]
    assert [problem.field for problem in problems(ACCOUNTING + name, good | {"total": 1})] == ["data.total"]
