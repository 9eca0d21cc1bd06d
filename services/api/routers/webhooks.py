"""`/v1/quickbooks/webhooks`: where Intuit posts what changed. Signed by Intuit, so it takes no API key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import APIKeyHeader
from pydantic import Field

from services.api.context import Context
from services.api.problems import ApiError
from services.api.shapes import Told
from services.api.work import context_of
from services.connections import webhooks
from services.inbound import asking, schedule

_SIGNATURE = APIKeyHeader(
    name="intuit-signature",
    auto_error=False,
    description="base64 of the HMAC-SHA256 of the body, with the verifier token of the Intuit app as its key.",
)
_BODY = {"schema": {"description": "Intuit's, in the older form or as CloudEvents."}}

router = APIRouter(tags=["QuickBooks"])


class NoticesTold(Told):
    """What became of the events of a post."""

    new: int
    repeated: int = Field(description="Seen before, in this post or an earlier one.")
    unknown: int = Field(description="Of companies that are not connected here.")
    unreadable: int = Field(description="Left out; the others were taken.")
    companies: int = Field(description="How many companies are read now.")


async def raw_body(request: Request) -> bytes:
    """The bytes that were signed, whatever they are called."""
    return await request.body()


@router.post(
    "/v1/quickbooks/webhooks",
    response_model=NoticesTold,
    openapi_extra={
        "requestBody": {"content": {"application/json": _BODY, "application/cloudevents+json": _BODY}}
    },
)
def take(
    context: Annotated[Context, Depends(context_of)],
    raw: Annotated[bytes, Depends(raw_body)],
    signature: Annotated[str | None, Security(_SIGNATURE)],
) -> NoticesTold:
    """Take Intuit's notices and have the companies they speak of read now.

    Everything signed is answered with 200, because Intuit holds back all later notices until then; only a
    database that does not answer makes it come again (503).
    """
    tokens = context.intuit.application.webhook_verifier_tokens
    if not tokens:
        raise ApiError(
            401,
            "no_verifier_token",
            "nothing was taken: QBO_WEBHOOK_VERIFIER_TOKEN is not set, so nobody can tell whether this is from Intuit."
            " Copy the token from the webhooks page of your app at developer.intuit.com",
        )
    if not webhooks.signed(raw, signature, tokens):
        raise ApiError(
            401,
            "bad_signature",
            "nothing was taken: intuit-signature does not fit the body and any token of QBO_WEBHOOK_VERIFIER_TOKEN",
        )
    taken = webhooks.take(
        context.database,
        context.intuit.environment.name,
        raw,
        polled=asking.ENTITIES,
        wake=schedule.wake,
    )
    return NoticesTold.model_validate(taken)
