"""`/v1/readiness` and `/v1/plan`: what would fail before it does, and what the backlog would do."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.api.shapes import Given, Told
from services.api.targets import company_of
from services.api.work import Reader
from services.onboarding import plan, readiness
from services.onboarding.plan import Step
from services.outbound.handlers import HANDLERS
from services.refusals import invalid

router = APIRouter(prefix="/v1", tags=["Readiness"])


class DocumentsGiven(Given):
    """Documents that are about to be finalized."""

    kind: Literal["invoice", "credit_note"] = "invoice"
    documents: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=readiness.MOST,
        description="Each as the data of its finalized event; number, finalized_at and actor may be missing.",
    )


class FindingTold(Told):
    """One thing that keeps a document back."""

    code: str
    where: str = Field(description="As a person counts: line 2 (Backup), item.")
    what: str
    fix: str


class VerdictTold(Told):
    """What is to be said about one document."""

    document_id: str
    number: str
    refuse: bool = Field(description="It would be exported and would fail: mend it before you finalize it.")
    applies: bool = Field(description="Whether it would be exported by itself; why says why not.")
    checked: bool = Field(description="False when nothing could be looked at; then nothing is refused.")
    why: str
    findings: list[FindingTold]
    lists_read_at: datetime | None = Field(description="Age of what is known of QuickBooks' lists.")


class Verdicts(BaseModel):
    """One verdict a document, in their order."""

    data: list[VerdictTold]


class PlannedTold(Told):
    """A call exactly as it would be made."""

    method: str
    target: str = Field(description="After /v3/company/<realm>/.")
    operation: str
    entity: str
    body: str = Field(description="The exact text; ids that begin with new: are known once it is made.")
    requestid: str
    total: Decimal | None = Field(description="What QuickBooks would show, in the document's currency.")
    look_first: bool = Field(description="A metered read comes before it: it may have been made already.")


class StepTold(Told):
    """What becomes of one operation."""

    operation_id: UUID
    kind: str
    document_kind: str
    document_id: str
    number: str
    day: date | None
    total: int | None = Field(description="Billing's total in minor units.")
    currency: str
    client: str
    would: Literal["send", "skip", "wait", "ask"]
    code: str
    why: str
    call: PlannedTold | None
    findings: list[FindingTold]
    after: list[str] = Field(description="What must happen first: auto_sync, pause, company.")
    differs: bool = Field(description="QuickBooks would show another total than billing.")


class SummaryTold(Told):
    """A plan in numbers."""

    steps: dict[str, int]
    reasons: dict[str, int]
    calls: dict[str, int]
    totals: dict[str, dict[str, Decimal]] = Field(
        description="What the calls would show, by call and currency."
    )
    differing: int
    metered_reads: int


class PlanTold(BaseModel):
    """A plan: its numbers and its steps."""

    summary: SummaryTold
    data: list[StepTold]

    @classmethod
    def of(cls, steps: list[Step]) -> PlanTold:
        """The plan as it may be shown."""
        return cls(
            summary=SummaryTold.model_validate(plan.summary(steps)),
            data=[StepTold.model_validate(step) for step in steps],
        )


class PlanQuery(Given):
    """Of which company, and how much of it."""

    realm_id: str | None = Field(default=None, description="The company; the tenant's default when left out.")
    limit: int = Field(default=200, ge=1, le=plan.MOST)


class PeriodQuery(PlanQuery):
    """Documents dated from one day to another, both included."""

    begin: date = Field(description="First day.")
    until: date = Field(description="Last day.")


@router.post("/readiness", response_model=Verdicts)
def check_documents(given: DocumentsGiven, work: Reader) -> Verdicts:
    """Ask before you finalize: what would fail, by line, with the fix. Changes nothing, calls nobody.

    Treat every answer but 200 as "not checked": our trouble must not keep you from billing.
    """
    found = readiness.check(work.context.database, work.tenant, given.kind, given.documents)
    return Verdicts(data=[VerdictTold.model_validate(one) for one in found])


@router.get("/readiness/period", response_model=PlanTold)
def check_period(query: Annotated[PeriodQuery, Query()], work: Reader) -> PlanTold:
    """What of the documents dated in a period would not go through, or rests with a person already."""
    if query.until < query.begin:
        raise invalid("until", f"the period ends on {query.until}, before it begins on {query.begin}")
    with work.transaction() as connection:
        company = company_of(work, connection, query.realm_id).company_id
        steps = readiness.period(
            connection, work.tenant, company, HANDLERS, query.begin, query.until, limit=query.limit
        )
    return PlanTold.of(steps)


@router.get("/plan", response_model=PlanTold)
def show_plan(query: Annotated[PlanQuery, Query()], work: Reader) -> PlanTold:
    """The exact calls that the backlog would make now, decided by the code that makes them. Changes nothing."""
    with work.transaction() as connection:
        company = company_of(work, connection, query.realm_id).company_id
        steps = plan.steps(connection, work.tenant, company, HANDLERS, limit=query.limit)
    return PlanTold.of(steps)
