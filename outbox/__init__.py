"""The transactional outbox: emit in the caller's transaction, relay with pipelined confirms."""

from __future__ import annotations

from outbox.emit import EmitError, Emitted, emit, emit_event

__all__ = ["EmitError", "Emitted", "emit", "emit_event"]
