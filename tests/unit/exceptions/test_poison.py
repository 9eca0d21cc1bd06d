"""Words for messages that nobody can take over."""

from __future__ import annotations

import pytest

from messages import errors
from messages.errors import BadMessage
from services.exceptions import poison
from services.ledger.intake import SequenceTaken

REASONS = sorted(
    {one.reason for one in vars(errors).values() if isinstance(one, type) and issubclass(one, BadMessage)}
    - {BadMessage.reason}
    | {SequenceTaken.reason}
)


@pytest.mark.parametrize("code", [*REASONS, "unknown_operation", "id_taken", "delivery_limit"])
def test_every_reason_has_a_why_and_a_fix(code: str) -> None:
    """A new way to refuse a message is explained on the exception list, not only by its code."""
    problem = poison.problem(code, "type is 7; send a name", "com.algapsa.billing.x.v1", {"letter_id": "l-1"})
    unknown = poison.problem("never heard of", "?", None, {"letter_id": "l-1"})
    assert problem.why != unknown.why
    assert problem.happened == "type is 7; send a name"
    assert "replay the letter" in problem.fix or "dead-letters discard --id l-1 --because" in problem.fix


def test_the_cause_groups_by_reason_and_type() -> None:
    """One fix at the sender mends all events of a type that broke the contract in the same way."""
    one = poison.problem("invalid_data", "a", "t.v1", {"letter_id": "1"})
    two = poison.problem("invalid_data", "b", "t.v1", {"letter_id": "2"})
    other = poison.problem("invalid_data", "a", "u.v1", {"letter_id": "3"})
    assert one.cause == two.cause != other.cause


def test_details_leave_out_what_nobody_knows() -> None:
    """An absent document is absent, not null."""
    assert poison.problem("bad_json", "x", None, {"letter_id": "1", "document": None}).details == {
        "letter_id": "1"
    }


@pytest.mark.parametrize(
    ("queue", "body", "code"),
    [
        ("intake", b"{", "bad_json"),
        ("export", b"{}", "unknown_version"),
        ("export", b"[]", "invalid_command"),
    ],
)
def test_a_body_is_read_again_as_its_queue_reads_it(queue: str, body: bytes, code: str) -> None:
    """Events where events travel, commands elsewhere."""
    assert poison.explain(queue, "rejected", body)[0] == code
