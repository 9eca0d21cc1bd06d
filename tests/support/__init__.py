"""What tests share: real servers, a sandbox company, the command line, and deadlines instead of sleeps."""

from __future__ import annotations

from tests.support.deadline import eventually

__all__ = ["eventually"]
