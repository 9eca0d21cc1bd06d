"""Intuit's side of a tenant: credentials, OAuth, tokens, connected companies, limits, metered reads."""

from __future__ import annotations
