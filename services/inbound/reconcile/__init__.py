"""The zero-drift statement: both books are read anew, and every difference between them is itemised and explained."""

from __future__ import annotations
