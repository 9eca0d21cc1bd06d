"""`/v1/csv-exports`: invoices as files for QuickBooks' own import and credit notes to enter, connected or not."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from services.api.shapes import Given, Told
from services.api.work import Manager, Reader
from services.outbound import csv_files, csv_handover
from services.outbound.csv_files import Handover, Selection
from services.refusals import invalid

router = APIRouter(prefix="/v1/csv-exports", tags=["CSV"])

_DAY = r"^\d{4}-\d{2}-\d{2}$"


class SelectionGiven(Given):
    """Which invoices and credit notes: dated in a period, both ends included, or named by number or id, or both."""

    from_: str | None = Field(default=None, alias="from", pattern=_DAY, examples=["2026-10-01"])
    to: str | None = Field(default=None, pattern=_DAY, examples=["2026-10-31"])
    invoices: list[Annotated[str, Field(min_length=1, max_length=255)]] = Field(
        default=[], max_length=csv_files.MOST
    )
    dry_run: bool = Field(default=False, description="Say what would be handed over, and hold nothing.")


class TakeBackGiven(Given):
    """Which invoices and credit notes of a hand-over were not imported or entered; all when none is named."""

    invoices: list[Annotated[str, Field(min_length=1, max_length=255)]] = Field(
        default=[], max_length=csv_files.MOST
    )
    reason: str = Field(min_length=1, max_length=500)


class FileTold(Told):
    """One file, for one QuickBooks company and one currency; `GET .../files/{number}` downloads it."""

    number: int
    name: str
    company_id: UUID | None
    kind: str = Field(
        description="invoice: for QuickBooks' import. credit_note: to be entered by hand, or imported where "
        "QuickBooks offers an import of credit notes.",
        examples=["invoice"],
    )
    invoices: int = Field(description="How many documents it carries.")
    rows: int


class MissingTold(Told):
    """A mapping that is not set: the files have billing's own name there."""

    kind: str
    key: str
    name: str


class LeftOutTold(Told):
    """A document of the selection that is in no file, and why."""

    kind: str
    document_id: str
    number: str | None
    why: str


class HandoverTold(Told):
    """What was handed over; with `dry_run` what would be, and then it has no id."""

    handover_id: UUID | None
    created_at: datetime | None
    actor: str
    first_date: date | None
    last_date: date | None
    invoices: int
    credit_notes: int
    files: list[FileTold]
    left_out: list[LeftOutTold]
    missing: list[MissingTold]


class PastTold(Told):
    """A hand-over that was made."""

    handover_id: UUID
    created_at: datetime
    actor: str
    first_date: date | None
    last_date: date | None
    files: list[FileTold]
    missing: list[MissingTold]
    standing: int = Field(description="Documents held back until they are linked, or taken back.")


class HandoversTold(BaseModel):
    """Hand-overs, the newest first."""

    data: list[PastTold]


class TakenBack(BaseModel):
    """How many documents go on to be exported."""

    taken_back: int


@router.post("", response_model=HandoverTold)
def hand_over(given: SelectionGiven, work: Manager) -> Response:
    """Make the files, and hold what they carry back from export until it is found in QuickBooks."""
    selection = Selection(_day("from", given.from_), _day("to", given.to), given.invoices)

    def act(connection: Connection) -> HandoverTold:
        made: Handover = (
            csv_handover.preview(connection, work.tenant, selection)
            if given.dry_run
            else csv_handover.hand_over(connection, work.tenant, selection, actor=work.caller.actor)
        )
        return HandoverTold.model_validate(made)

    return work.once(act)


@router.get("", response_model=HandoversTold)
def list_handovers(work: Reader, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> HandoversTold:
    """List hand-overs, newest first."""
    with work.transaction() as connection:
        found = csv_handover.listed(connection, work.tenant, limit=limit)
    return HandoversTold(data=[PastTold.model_validate(one) for one in found])


@router.get("/{handover_id}", response_model=PastTold)
def show_handover(handover_id: UUID, work: Reader) -> PastTold:
    """Show one hand-over."""
    with work.transaction() as connection:
        return PastTold.model_validate(csv_handover.past(connection, work.tenant, handover_id))


@router.get(
    "/{handover_id}/files/{number}",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}, "description": "The file, as it was handed over."}},
)
def download(handover_id: UUID, number: int, work: Reader) -> Response:
    """Download a file."""
    if not 1 <= number <= csv_files.MOST:
        raise invalid("number", f"files are numbered from 1 to {csv_files.MOST} at most")
    with work.transaction() as connection:
        name, text = csv_handover.content(connection, work.tenant, handover_id, number)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.encode(), 200, headers, media_type="text/csv; charset=utf-8")


@router.post("/{handover_id}/take-back", response_model=TakenBack)
def take_back(handover_id: UUID, given: TakeBackGiven, work: Manager) -> Response:
    """Say that a file, or some documents of it, were not imported or entered: they are exported like others."""

    def act(connection: Connection) -> TakenBack:
        taken = csv_handover.take_back(
            connection,
            work.tenant,
            handover_id,
            given.invoices,
            actor=work.caller.actor,
            reason=given.reason,
        )
        return TakenBack(taken_back=taken)

    return work.once(act)


def _day(field: str, written: str | None) -> date | None:
    if written is None:
        return None
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise invalid(field, f"{field} is {written}, which is no day of the calendar") from None
