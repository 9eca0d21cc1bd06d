"""Refusals by QuickBooks in plain words."""

from __future__ import annotations

import re

import pytest

from services.exceptions import fault_words
from services.quickbooks.fault_codes import TABLE
from services.quickbooks.faults import from_json, from_status

JARGON = re.compile(
    r"\b(JSON|XML|HTTP|API|SyncToken|realm|enum|null|boolean|token|entity|param(eter)?s?|TxnTaxDetail|endpoint)\b",
    re.IGNORECASE,
)


def test_every_code_of_the_fault_table_has_words_and_no_other() -> None:
    """A code that is added to the table without words fails here, and words without a code are dead."""
    assert set(fault_words.ENTRIES) == set(TABLE)


@pytest.mark.parametrize("code", TABLE)
def test_words_are_whole_sentences_a_bookkeeper_understands(code: str) -> None:
    """What happened, why and how to fix it: each said, each a sentence, what and why without a programmer's words."""
    words = fault_words.of_code(code)
    for sentence in (words.happened, words.why, words.fix):
        assert re.fullmatch(r"[A-Z“\"a].{10,300}\.", sentence), sentence
    assert not JARGON.search(words.happened + words.why), words
    assert len({words.happened, words.why, words.fix}) == 3


@pytest.mark.parametrize("code", [code for code, known in TABLE.items() if known.kind == "auth"])
def test_what_a_reconnect_mends_points_to_the_connection(code: str) -> None:
    """Nobody looks for a lost authorization in QuickBooks' lists."""
    assert fault_words.of_code(code).place == "connection"


def test_a_mistake_of_ours_is_not_blamed_on_the_bookkeeper() -> None:
    """A request that we built wrong is ours to mend, and says so."""
    for code, known in TABLE.items():
        assert (known.kind == "bug") == ("mistake of algasync" in fault_words.of_code(code).fix), code


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_code_that_nobody_knows_has_words_too(status: int) -> None:
    """Intuit adds codes; a new one is explained by its class."""
    unknown = from_json({"Fault": {"Error": [{"code": "98765", "Message": "new"}], "type": "?"}}, status)
    for fault in (unknown, from_status(status)):
        assert fault is not None
        words = fault_words.of_fault(fault)
        assert words.happened
        assert words.why
        assert words.fix
