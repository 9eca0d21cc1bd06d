"""One router a capability."""

from __future__ import annotations
