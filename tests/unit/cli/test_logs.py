"""Logs: they go to standard error, wherever that points at the moment."""

from __future__ import annotations

import contextlib
import io

import pytest
import structlog

from services.cli import logs
from services.refusals import Refusal


def test_a_logger_outlives_a_redirection() -> None:
    """A logger first used while standard error was redirected does not hold on to the closed file."""
    logs.configure("json", "info")
    log = structlog.get_logger()
    first = io.StringIO()
    with contextlib.redirect_stderr(first):
        log.info("one")
    first.close()
    second = io.StringIO()
    with contextlib.redirect_stderr(second):
        log.info("two", tenant="t1")
    assert '"event": "two"' in second.getvalue()


def test_an_unknown_level_is_named() -> None:
    """Bad input names the setting and the fix."""
    with pytest.raises(Refusal, match="'loud' is no level") as refused:
        logs.configure("json", "loud")
    assert refused.value.field == "ALGASYNC_LOG_LEVEL"


def test_a_logger_obeys_later_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """A logger that was used while only warnings were wanted tells more once more is wanted."""
    logs.configure("json", "warning")
    log = structlog.get_logger()
    log.info("unwanted")
    logs.configure("json", "info")
    log.info("wanted")
    told = capsys.readouterr().err
    assert '"event": "wanted"' in told
    assert "unwanted" not in told
