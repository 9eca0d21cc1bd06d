"""`/v1/documents/.../timeline` over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.api.keys import Scope
from services.ledger import timeline
from tests.support.api import OTHER, TENANT, Served


def happened(served: Served, *actions: str) -> None:
    """Write steps of an invoice of the tenant."""
    with served.fleet.transaction(TENANT) as connection:
        for action in actions:
            timeline.append(
                connection, TENANT, "invoice", "inv/1", "maria", action, {"reason": "as agreed by phone"}
            )


def test_steps_are_told_with_who_and_a_sentence(served: Served) -> None:
    """Each step says who, what and why; ids with a slash are found."""
    happened(served, "exception_comment", "exception_ignored")
    told = served.manager.get("/v1/documents/invoice/inv/1/timeline")
    assert told["intact"] is True
    assert [(step["actor"], step["sentence"]) for step in told["steps"]] == [
        ("maria", "exception comment: as agreed by phone"),
        ("maria", "exception ignored: as agreed by phone"),
    ]


def test_as_of_cuts_what_came_later(served: Served) -> None:
    """What had not happened by then is not told; a moment without a zone is refused, since nobody knows which it is."""
    happened(served, "exception_comment")
    path = "/v1/documents/invoice/inv/1/timeline"
    before = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert served.manager.get(path, as_of=before)["steps"] == []
    answer = served.manager("GET", path, params={"as_of": "2026-10-31T23:59:00"})
    assert answer.status_code == 422
    assert "as_of" in answer.text


def test_what_nobody_knows_is_not_found(served: Served) -> None:
    """An unknown document and another tenant's give the same answer."""
    happened(served, "exception_comment")
    stranger = served.caller(Scope.MANAGE, tenant=OTHER)
    answers = [
        served.manager("GET", "/v1/documents/invoice/inv-9/timeline"),
        stranger("GET", "/v1/documents/invoice/inv/1/timeline"),
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert [answer.json()["code"] for answer in answers] == ["not_found", "not_found"]
