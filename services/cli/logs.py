"""Structured logs: JSON for machines, a line a person can read otherwise. Secrets never get this far."""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO, cast

import structlog

from services import refusals


class _StandardError:
    """Standard error as it is when a line is written; whoever redirects it later is obeyed."""

    def write(self, text: str) -> int:
        """Write to whatever is standard error now."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush whatever is standard error now."""
        sys.stderr.flush()


def configure(log_format: Literal["json", "console"], level: str) -> None:
    """Set up structlog for this process, on standard error. Raises `ValueError` for a level that does not exist."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise refusals.invalid(
            "ALGASYNC_LOG_LEVEL",
            f"{level!r} is no level; use debug, info, warning or error",
            code="invalid_setting",
        )
    renderer = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _StandardError())),
        # Not cached: a logger of a module that was used before this call would keep the earlier settings.
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
