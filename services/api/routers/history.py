"""`/v1/documents/.../timeline`: what happened to a document in both systems, and what was known at a moment."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, Field

from services.api.shapes import EntryTold, Told
from services.api.work import Reader
from services.ledger import history
from services.refusals import missing

router = APIRouter(prefix="/v1/documents", tags=["Documents"])


class StepTold(EntryTold):
    """One step, with what it says for a person."""

    sentence: str


class MomentTold(Told):
    """What was known at the end of what is shown."""

    billing: dict[str, Any] = Field(description="What billing had said last; `data` while the event is kept.")
    quickbooks: dict[str, Any] = Field(
        description="What QuickBooks had answered last; empty before the first time."
    )
    operations: dict[str, str] = Field(description="Operations not finished, and how far each had come.")
    exceptions: dict[str, str] = Field(description="What waited for a person, by exception id.")


class RelatedTold(Told):
    """A payment or credit application that touches the document."""

    kind: str
    document_id: str
    number: str | None


class HistoryTold(Told):
    """The history of a document, oldest step first."""

    kind: str
    document_id: str
    as_of: datetime | None
    intact: bool = Field(description="Nothing was changed, removed or cut off since it was written.")
    steps: list[StepTold]
    moment: MomentTold
    related: list[RelatedTold]


@router.get("/{type}/{document_id:path}/timeline", response_model=HistoryTold)
def show_timeline(
    type: Annotated[str, Path(min_length=1, max_length=100, examples=["invoice"])],  # noqa: A002 - the field's name
    document_id: Annotated[str, Path(min_length=1, max_length=200)],
    work: Reader,
    as_of: Annotated[
        AwareDatetime | None, Query(description="Only what had happened by then; a moment with its zone.")
    ] = None,
) -> HistoryTold:
    """Tell every step of a document: events, calls with `requestid` and `intuit_tid`, who decided what."""
    with work.transaction() as connection:
        found = history.of_document(connection, work.tenant, type, document_id, as_of=as_of)
    if found is None:
        raise missing(f"nothing has happened to {type} {document_id} so far; check the type and the id")
    return HistoryTold(
        kind=found.kind,
        document_id=found.document_id,
        as_of=found.as_of,
        intact=found.intact,
        steps=[
            StepTold(**EntryTold.model_validate(step.entry).model_dump(), sentence=step.sentence)
            for step in found.steps
        ],
        moment=MomentTold.model_validate(found.moment),
        related=[RelatedTold(kind=k, document_id=i, number=n) for k, i, n in found.related],
    )
