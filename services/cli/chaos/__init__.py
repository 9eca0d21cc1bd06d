"""Chaos: the whole fleet as real processes, killed by quota while it works; afterwards both books are compared."""

from __future__ import annotations
