"""What is to be done by hand is told although it has to wait: behind a failed step of its document, or a reconnect.

The recipe itself comes in its turn, as the document's own exception; until then an item of what waits tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection, text

from services.exceptions import desk
from services.ledger.operations import COLUMNS, Operation, from_row
from services.ledger.ports import Problem
from services.outbound.long_waits import TYPE
from services.outbound.return_money import ReturnMoney
from services.outbound.unsupported import Unsupported
from services.outbound.write_off import WRITE_OFF

log = structlog.get_logger()

CODE: Final = "recipe_waiting"


class Recipe(Protocol):
    """A handler of what people may have to do."""

    kind: str

    def recipe(self, connection: Connection, operation: Operation) -> Problem | None:
        """What a person does; None when nobody has to."""


_HANDLERS: Final[Mapping[str, Recipe]] = {one.kind: one for one in (Unsupported(), ReturnMoney(), WRITE_OFF)}

# One item a document and type: of several recipes the first is told first. What was tried again stands on the list
# as what it failed for before.
_WAITING = text(
    f"""SELECT {COLUMNS} FROM operation o JOIN company c ON c.company_id = o.company_id
        WHERE o.state = 'waiting' AND o.kind = ANY (:kinds)
          AND (c.state <> 'active' OR EXISTS (
            SELECT FROM operation e
             WHERE e.tenant_id = o.tenant_id AND e.document_kind = o.document_kind AND e.document_id = o.document_id
               AND e.revision < o.revision AND e.state = 'failed'))
          AND NOT EXISTS (
            SELECT FROM exception x WHERE x.operation_id = o.operation_id AND x.state <> 'resolved')
          AND NOT EXISTS (
            SELECT FROM exception x
             WHERE x.tenant_id = o.tenant_id AND x.type = :type AND x.state IN ('open', 'in_progress')
               AND x.entity_kind = o.document_kind AND x.entity_id = o.document_id)
        ORDER BY o.created_at, o.operation_id LIMIT :limit FOR UPDATE OF o SKIP LOCKED"""  # noqa: S608 - constant columns
)
_OVER = text(
    """SELECT e.exception_id FROM exception e JOIN operation o USING (operation_id)
        WHERE e.code = :code AND e.state IN ('open', 'in_progress') AND o.state <> 'waiting'
        ORDER BY e.exception_id LIMIT :limit"""
)


def report(connection: Connection, *, limit: int = 500) -> Mapping[str, int]:
    """Tell each recipe that waits behind trouble, and close what was told once the recipe itself is on the list.

    Scope: all tenants, by the clock. Returns how many of each.
    """
    values = {"kinds": list(_HANDLERS), "type": TYPE, "code": CODE, "limit": limit}
    told: set[tuple[str, str, str]] = set()
    for row in connection.execute(_WAITING, values).all():
        operation = from_row(row)
        document = (operation.tenant_id, operation.document_kind, operation.document_id)
        problem = _HANDLERS[operation.kind].recipe(connection, operation)
        if problem is not None and document not in told:
            desk.report(connection, desk.about(operation), _early(problem))
            told.add(document)
    over = connection.execute(_OVER, values).scalars().all()
    closed = sum(desk.resolve_one(connection, one, "it is asked for itself", desk.ACTOR) for one in over)
    done = {"opened": len(told), "closed": closed}
    if any(done.values()):
        log.info("early_recipes_told", **done)
    return done


def _early(problem: Problem) -> Problem:
    return replace(
        problem,
        type=TYPE,
        code=CODE,
        why="An earlier step of it, or the connection, is to be settled first: that is on the list, too.",
        fix=f"Settle that first, and this is asked for by itself. What it takes: {problem.fix}",
    )
