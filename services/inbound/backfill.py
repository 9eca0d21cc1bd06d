"""Payments from before the feed: read by somebody else, judged like any other.

The wizard reads a company's history anyway; the payments in it are handed over here instead of being read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from services.connections.companies import Company
from services.inbound import filing, sightings


def take(connection: Connection, company: Company, payments: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """File payments as QuickBooks showed them, and open an operation for each that is news; needs the fleet's role.

    `payments` are rows of Payment as `services.quickbooks` reads them: whole, and with amounts as Decimal. Returns
    how many were `new` (they are judged soon, by the ordinary rules: linked invoices get their money, what is nobody's
    is ignored), `seen` (this version or a later one is known) and `echo` (our own). Calling it again with the same
    rows opens nothing. A thousand rows a transaction is a good size.
    """
    return filing.file(connection, company, None, [sightings.shown("Payment", row) for row in payments])
