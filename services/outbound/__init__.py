"""Billing documents on their way to QuickBooks."""

from __future__ import annotations
