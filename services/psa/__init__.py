"""The port to the PSA: accounting events, feed, signed webhooks, balances."""

from __future__ import annotations
