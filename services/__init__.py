"""What the fleet does and what people ask for: one folder a capability."""

from __future__ import annotations
