"""What we owe and what was done: events taken over, documents, operations, waits, links, timeline."""

from __future__ import annotations
