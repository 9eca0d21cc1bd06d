"""QuickBooks changes on their way to billing."""

from __future__ import annotations
