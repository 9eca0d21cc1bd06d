"""`/v1/operations/{id}/choices` and `/decision`: how a failed operation goes on is a person's decision."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import Response

from services.api.routers.operations import OperationTold
from services.api.shapes import Given, Told
from services.api.work import Manager, Reader
from services.outbound import decisions
from services.refusals import invalid

router = APIRouter(prefix="/v1/operations", tags=["Operations"])


class ChoiceTold(Told):
    """One way to go on."""

    choice: str = Field(examples=["redate"])
    label: str
    needs: list[str] = Field(description="What to send with it: reason, date.")
    default_date: date | None = Field(
        description="The day that is taken when you send none; without it a date must be sent.",
        examples=["2026-11-06"],
    )


class OfferTold(Told):
    """What stands in an operation's way, and the choices there are; none when there is nothing to decide."""

    operation_id: UUID
    kind: str
    document_kind: str
    document_id: str
    state: str
    exception_id: UUID | None
    code: str | None = Field(examples=["books_closed"])
    title: str | None
    happened: str | None
    why: str | None
    fix: str | None
    closed_through: date | None = Field(description="The last day of the closed period, if it is about that.")
    choices: list[ChoiceTold]


class DecisionGiven(Given):
    """One of the choices, and why."""

    choice: str = Field(min_length=1, max_length=300, examples=["redate"])
    reason: str = Field(
        min_length=1, max_length=decisions.LONGEST_REASON, description="Stays in the document's history."
    )
    date: str | None = Field(
        default=None,
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="A day in the open period, for `redate` and `offset`.",
        examples=["2026-11-01"],
    )


@router.get("/{operation_id}/choices", response_model=OfferTold)
def list_choices(operation_id: UUID, work: Reader) -> OfferTold:
    """List what can be decided about an operation. Changes nothing."""
    with work.transaction() as connection:
        return OfferTold.model_validate(decisions.offered(connection, operation_id))


@router.post("/{operation_id}/decision", response_model=OperationTold)
def decide(operation_id: UUID, given: DecisionGiven, work: Manager) -> Response:
    """Go on as chosen, in a new attempt. Refused when the operation does not offer it (any more)."""

    def act(connection: Connection) -> OperationTold:
        decided = decisions.decide(
            connection,
            operation_id,
            given.choice,
            actor=work.caller.actor,
            reason=given.reason,
            book_on=_day(given.date),
        )
        return OperationTold.model_validate(decided)

    return work.once(act)


def _day(written: str | None) -> date | None:
    if written is None:
        return None
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise invalid("date", f"date is {written}, which is no day of the calendar") from None
