"""QuickBooks as a request asks it: calls of the caller's tenant, and the company's lists when they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from services.api.work import Work
from services.connections.clients import Clients
from services.onboarding import assigning
from services.onboarding.assigning import Wanted


@contextmanager
def clients(work: Work) -> Iterator[Clients]:
    """Calls to QuickBooks for the caller's tenant, closed at the end."""
    context = work.context
    found = Clients(context.database, context.intuit, context.attention, work.tenant)
    try:
        yield found
    finally:
        found.close()


def have(work: Work, company_id: UUID, wanted: Iterable[Wanted], *, refresh: bool = False) -> str:
    """Have the lists at hand that `wanted` choose from; returns "" or why they could not be read."""
    calls = partial(clients, work)
    return assigning.read_lists(
        work.context.database, calls, work.tenant, company_id, wanted, refresh=refresh
    )
