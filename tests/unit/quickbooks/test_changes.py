"""The change feed's answers, judged for completeness."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from services.quickbooks import body, calls, changes
from services.quickbooks.entities import Invoice
from services.quickbooks.reply import Answer, Reply, judge

CALL = calls.changes(["Invoice", "Payment", "Customer"], datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC))


def reply(*responses: dict[str, Any], time: str | None = "2026-05-05T03:11:50.809-07:00") -> Reply:
    """Make an answer of the feed, as it comes over the wire."""
    data = {"CDCResponse": [{"QueryResponse": list(responses)}], **({"time": time} if time else {})}
    return judge(CALL, Answer(200, {"date": "Tue, 05 May 2026 10:11:50 GMT"}, body.dump(data).encode()))


def invoices(number: int) -> dict[str, Any]:
    """Make an entity's part with so many invoices."""
    rows = [{"Id": str(i), "SyncToken": "0"} for i in range(number)]
    return {"Invoice": rows, "startPosition": 1, "maxResults": number}


def test_changed_and_deleted_objects_are_told_apart() -> None:
    """A deleted object is a stub without SyncToken; its part may lack positions; an empty part is {}."""
    stub = {
        "domain": "QBO",
        "status": "Deleted",
        "Id": "65",
        "MetaData": {"LastUpdatedTime": "2026-05-05T03:11:51-07:00"},
    }
    parsed = changes.parse(reply(invoices(2), {"Payment": [stub]}, {}))
    assert [invoice.id for invoice in parsed.changed["Invoice"]] == ["0", "1"]
    assert isinstance(parsed.changed["Invoice"][0], Invoice)
    (deleted,) = parsed.deleted
    assert (deleted.entity, deleted.id) == ("Payment", "65")
    assert deleted.time == datetime.datetime.fromisoformat("2026-05-05T03:11:51-07:00")
    assert parsed.counts == {"Invoice": 2, "Payment": 1}
    assert (parsed.total, parsed.complete) == (3, True)


@pytest.mark.parametrize("nothing", [[], [{}], [{}, {}, {}]])
def test_an_idle_answer_is_complete(nothing: list[dict[str, Any]]) -> None:
    """Nothing changed is a full answer, with the server's clock to go on from."""
    parsed = changes.parse(reply(*nothing))
    assert (parsed.total, parsed.complete) == (0, True)
    assert parsed.time == datetime.datetime.fromisoformat("2026-05-05T03:11:50.809-07:00")


@pytest.mark.parametrize(("payments", "complete"), [(499, True), (500, False), (501, False)])
def test_a_thousand_objects_over_all_entities_are_incomplete(payments: int, complete: bool) -> None:
    """The cap holds for the whole answer and is not announced: 500 and 500 are cut too (D14)."""
    rows = {"Payment": [{"Id": str(i)} for i in range(payments)]}
    assert changes.parse(reply(invoices(500), rows)).complete is complete


def test_a_total_above_the_rows_is_incomplete() -> None:
    """When QuickBooks does say that there is more, it is believed."""
    assert not changes.parse(reply({**invoices(10), "totalCount": 11})).complete


def test_the_header_tells_the_time_when_the_envelope_does_not() -> None:
    """The cursor follows the server's clock, never ours (D16)."""
    parsed = changes.parse(reply(invoices(1), time=None))
    assert parsed.time == datetime.datetime(2026, 5, 5, 10, 11, 50, tzinfo=datetime.UTC)
