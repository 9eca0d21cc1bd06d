"""Every foreseeable error of QuickBooks is a sentence with what to do next, and an exit code."""

from __future__ import annotations

import pytest

from services.cli.console import FAILED, UNREACHABLE
from services.cli.errors import in_words
from services.quickbooks.errors import AuthFailed, NotSent, QuickBooksError, Throttled, UnknownOutcome


@pytest.mark.parametrize(
    ("error", "code", "exit_code", "next_"),
    [
        (AuthFailed("the authorization was revoked"), "reconnect", FAILED, "connections connect"),
        (NotSent("no connection to QuickBooks"), "not_sent", UNREACHABLE, "Check the network"),
        (Throttled("too many calls", retry_after=60.0), "throttled", UNREACHABLE, "in 60 seconds"),
        (
            UnknownOutcome("the answer was lost", intuit_tid="1-2"),
            "quickbooks_unavailable",
            UNREACHABLE,
            "1-2",
        ),
    ],
)
def test_quickbooks_in_words(error: QuickBooksError, code: str, exit_code: int, next_: str) -> None:
    """What happened, Intuit's id where there is one, and the next step; never a traceback."""
    told = in_words(error)
    assert told is not None
    assert (told.code, told.exit_code) == (code, exit_code)
    assert str(error) in told.sentence
    assert next_ in told.sentence


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    """What nobody foresaw is not hidden behind a sentence."""
    assert in_words(ZeroDivisionError()) is None
