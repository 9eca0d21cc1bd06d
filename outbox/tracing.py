"""The trace that work belongs to, so that what is emitted on its way belongs to it too.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

TRACEPARENT: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)
"""`traceparent` of the work at hand; `emit` uses it when the caller names none."""
