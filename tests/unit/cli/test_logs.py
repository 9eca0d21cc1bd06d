"""Logs: they go to standard error, wherever that points at the moment."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import pytest
import structlog

from services.cli import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the configuration of logs as it was."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


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
    with pytest.raises(ValueError, match="ALGASYNC_LOG_LEVEL: 'loud' is no level"):
        logs.configure("json", "loud")
