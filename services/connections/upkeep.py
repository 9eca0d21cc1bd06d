"""What connections need by the clock: tokens renewed before they end, facts read daily.

Both talk to Intuit, so neither runs inside a transaction. Several processes may do them at once: a token is renewed by
one, and facts read twice cost two reads more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

import structlog

from services.connections import companies, facts, token_store
from services.connections.clients import Clients
from services.connections.tokens import PROACTIVE
from services.database import Database
from services.database.engine import ALL_TENANTS
from services.quickbooks.errors import QuickBooksError

AT_ONCE = 4  # a company whose answers hang holds up at most this part of the others

_log = structlog.get_logger()


def renew_tokens(database: Database, clients: Clients, *, limit: int = 200) -> int:
    """Renew every access token that ends within a quarter of an hour; returns how many were.

    A company whose authorization is gone is expired by that, with its exception; other failures come round again.
    """
    with database.transaction(ALL_TENANTS) as connection:
        due = token_store.due(connection, within=PROACTIVE, limit=limit)
    return _each("token_not_renewed", due, clients.tokens.keep_fresh)


def read_facts(database: Database, clients: Clients, *, limit: int = 50) -> int:
    """Read company info and preferences of every active company that was not read for a day; returns how many."""
    with database.transaction(ALL_TENANTS) as connection:
        due = facts.due(connection, limit=limit)
        tenants = {company_id: companies.get(connection, company_id).tenant_id for company_id in due}

    def read(company_id: UUID) -> bool:
        facts.read(database, clients, tenants[company_id], company_id)
        return True

    return _each("facts_not_read", due, read)


def _each(trouble: str, due: Sequence[UUID], act: Callable[[UUID], bool]) -> int:
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="connections") as pool:
        return sum(pool.map(partial(_one, trouble, act), due))


def _one(trouble: str, act: Callable[[UUID], bool], company_id: UUID) -> bool:
    try:
        return act(company_id)
    except QuickBooksError as failure:
        _log.warning(trouble, company=str(company_id), because=str(failure))
        return False
