"""What needs a person: the exception list, its root causes, the dead letters that feed it, and replay."""

from __future__ import annotations

from services.exceptions.desk import ExceptionDesk, Subject, report, resolve

__all__ = ["ExceptionDesk", "Subject", "report", "resolve"]
