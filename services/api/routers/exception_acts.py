"""`/v1/exceptions`: what people do to exceptions, one by one, many at once, and all that one cause holds up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from services.api import etags
from services.api.routers.exceptions import ExceptionShown, told
from services.api.shapes import Given
from services.api.work import IfMatch, Manager, Work
from services.exceptions import causes, desk, lifecycle
from services.exceptions.bulk import Result
from services.psa import retries
from services.refusals import invalid

MOST = 500

router = APIRouter(prefix="/v1/exceptions", tags=["Exceptions"])

Reason = Annotated[str, Field(min_length=1, max_length=2000, examples=["entered by hand in QuickBooks"])]
Person = Annotated[str | None, Field(max_length=200, examples=["dana@msp.example"])]


class ReasonGiven(Given):
    """Why; it stands in the history."""

    reason: Reason


class AssigneeGiven(Given):
    """Whom; null takes it away from everybody."""

    assignee: Person


class CommentGiven(Given):
    """What to say."""

    comment: str = Field(min_length=1, max_length=4000, examples=["asked the bookkeeper"])


class BulkGiven(Given):
    """One act on many exceptions."""

    action: Literal["retry", "ignore", "reopen", "start", "assign"]
    exception_ids: list[UUID] = Field(min_length=1, max_length=MOST)
    reason: Reason | None = Field(default=None, description="Needed to ignore, to reopen and to retry.")
    assignee: Person = Field(default=None, description="Whom to assign to; null takes it away.")


class ReleaseGiven(ReasonGiven):
    """A cause that is mended."""

    cause: str = Field(
        min_length=1, max_length=500, examples=["mapping:item:0190b3c4-7d1e-7a55-9c1d-2f6c1b8a0d11:svc"]
    )
    dry_run: bool = Field(default=False, description="Say what would start, and do nothing.")


class RowTold(BaseModel):
    """What became of one exception."""

    exception_id: UUID
    done: bool
    code: str = Field(description="done, or the stable word of why not.")
    message: str


class BulkTold(BaseModel):
    """What became of each, in the order in which they were named."""

    done: int
    refused: int
    data: list[RowTold]


class ReleasedTold(BulkTold):
    """What was started, or would be; `left` is how many more rest on the cause."""

    dry_run: bool
    left: int


@router.post("/bulk", response_model=BulkTold)
def act_on_many(given: BulkGiven, work: Manager) -> JSONResponse:
    """Do the same to many exceptions: each in a transaction of its own, each with its own result."""
    act = _act(work, given)
    ids = list(dict.fromkeys(given.exception_ids))
    return _results(work.each(ids, act))


@router.post("/causes/release", response_model=ReleasedTold)
def release_cause(given: ReleaseGiven, work: Manager) -> JSONResponse:
    """Try everything again that rests on one cause, up to 500 at a time; call it again while some are left."""
    with work.transaction() as connection:
        resting = causes.preview(connection, work.tenant, given.cause)
    chosen = [one.exception_id for one in resting[:MOST]]
    if given.dry_run:
        results = [Result(one.exception_id, "done", f"would start: {one.title}") for one in resting[:MOST]]
    else:
        results = work.each(
            chosen, lambda connection, one: retries.retry(connection, one, work.caller.actor, given.reason)
        )
    return _results(results, dry_run=given.dry_run, left=len(resting) - len(chosen))


@router.post("/{exception_id}/start", response_model=ExceptionShown)
def start(exception_id: UUID, work: Manager, if_match: IfMatch = None) -> Response:
    """Say that somebody works on it."""
    return _one(work, exception_id, if_match, lambda c: lifecycle.start(c, exception_id, work.caller.actor))


@router.post("/{exception_id}/assign", response_model=ExceptionShown)
def assign(exception_id: UUID, given: AssigneeGiven, work: Manager, if_match: IfMatch = None) -> Response:
    """Give it to somebody, or to nobody."""
    return _one(
        work,
        exception_id,
        if_match,
        lambda c: lifecycle.assign(c, exception_id, given.assignee, work.caller.actor),
    )


@router.post("/{exception_id}/comments", response_model=ExceptionShown)
def comment(exception_id: UUID, given: CommentGiven, work: Manager) -> Response:
    """Add a comment, in any state."""
    return _one(
        work,
        exception_id,
        None,
        lambda c: lifecycle.comment(c, exception_id, given.comment, work.caller.actor),
    )


@router.post("/{exception_id}/ignore", response_model=ExceptionShown)
def ignore(exception_id: UUID, given: ReasonGiven, work: Manager, if_match: IfMatch = None) -> Response:
    """Accept it as it is. The same trouble again is counted and stays ignored."""
    return _one(
        work,
        exception_id,
        if_match,
        lambda c: lifecycle.ignore(c, exception_id, given.reason, work.caller.actor),
    )


@router.post("/{exception_id}/reopen", response_model=ExceptionShown)
def reopen(exception_id: UUID, given: ReasonGiven, work: Manager, if_match: IfMatch = None) -> Response:
    """Put a closed one back on the list."""
    return _one(
        work,
        exception_id,
        if_match,
        lambda c: lifecycle.reopen(c, exception_id, given.reason, work.caller.actor),
    )


@router.post("/{exception_id}/retry", response_model=ExceptionShown)
def retry(exception_id: UUID, given: ReasonGiven, work: Manager, if_match: IfMatch = None) -> Response:
    """Try again what it is about: a new attempt of the same operation, or a delivery that is sent again."""
    return _one(
        work,
        exception_id,
        if_match,
        lambda c: retries.retry(c, exception_id, work.caller.actor, given.reason),
    )


def _one(
    work: Work, exception_id: UUID, if_match: str | None, do: Callable[[Connection], object]
) -> Response:
    """Do it, if the caller has seen the present state, and show the exception as it is then."""

    def act(connection: Connection) -> ExceptionShown:
        if if_match is not None:
            desk.lock(connection, exception_id)
            etags.require(if_match, etags.of(told(connection, exception_id).model_dump_json()))
        do(connection)
        return told(connection, exception_id)

    return work.once(act, tagged=True)


def _act(work: Work, given: BulkGiven) -> Callable[[Connection, UUID], object]:
    actor, reason = work.caller.actor, given.reason
    if given.action == "assign":
        return lambda c, one: lifecycle.assign(c, one, given.assignee, actor)
    if given.action == "start":
        return lambda c, one: lifecycle.start(c, one, actor)
    if reason is None:
        raise invalid("body.reason", f"say why, to {given.action}; it stands in the history", code="required")
    return {
        "retry": lambda c, one: retries.retry(c, one, actor, reason),
        "ignore": lambda c, one: lifecycle.ignore(c, one, reason, actor),
        "reopen": lambda c, one: lifecycle.reopen(c, one, reason, actor),
    }[given.action]


def _results(results: list[Result], **more: object) -> JSONResponse:
    done = sum(one.done for one in results)
    rows = [
        {"exception_id": str(one.id), "done": one.done, "code": one.code, "message": one.message}
        for one in results
    ]
    return JSONResponse({"done": done, "refused": len(rows) - done, "data": rows, **more})
