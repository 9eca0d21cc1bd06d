"""`/v1/subscriptions`: where accounting events go by themselves, and the log of what was sent."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field, SecretStr
from sqlalchemy import Connection
from starlette.responses import Response

from services.api.paging import Page, PageQuery, cursor_of, moment_of
from services.api.shapes import Given, Told
from services.api.work import Manager, Reader
from services.psa import deliveries, subscriptions
from services.psa.addresses import outgoing

router = APIRouter(prefix="/v1/subscriptions", tags=["Subscriptions"])

Url = Annotated[str, Field(max_length=2000, examples=["https://psa.example/hooks/accounting"])]
Types = Annotated[list[str], Field(min_length=1, max_length=50, examples=[["payment.received.v1"]])]
Name = Annotated[str, Field(min_length=1, max_length=100, examples=["PSA"])]
PerMinute = Annotated[int, Field(ge=1, le=6000, description="Deliveries a minute at most.")]


class WebhookGiven(Given):
    """A new webhook."""

    name: Name
    url: Url
    event_types: Types = Field(default=["*"], description="* stands for every accounting event.")
    per_minute: PerMinute | None = None


class AlgaPsaGiven(Given):
    """Where AlgaPSA is, and the key to record payments there with."""

    url: Annotated[
        str, Field(max_length=2000, examples=["https://alga.example"], description="Without /api.")
    ]
    api_key: SecretStr = Field(description="Of an internal user who may read invoices and record payments.")


class ChangeGiven(Given):
    """What to change; what is left out stays."""

    name: Name | None = None
    url: Url | None = None
    event_types: Types | None = None
    per_minute: PerMinute | None = None
    api_key: SecretStr | None = Field(default=None, description="A new API key of AlgaPSA.")


class PauseGiven(Given):
    """Why."""

    reason: str = Field(min_length=1, max_length=500, examples=["the receiver is being upgraded"])


class ReplayGiven(Given):
    """Which events to send again: from `since` up to `before` (now), of all subscribed types or of these."""

    since: AwareDatetime
    before: AwareDatetime | None = None
    event_types: Types | None = None
    dry_run: bool = Field(default=False, description="Only count.")


class SubscriptionTold(Told):
    """One destination."""

    subscription_id: UUID
    kind: str = Field(description="webhook or algapsa.")
    name: str
    url: str
    event_types: list[str]
    state: str = Field(
        description="active, paused (by somebody) or disabled (by us, after a day of failures)."
    )
    state_reason: str | None
    per_minute: int
    pending: int = Field(description="Deliveries it is owed.")
    failures: int = Field(description="In a row.")
    failing_since: datetime | None
    last_success_at: datetime | None
    rest_until: datetime | None = Field(description="Left alone until then, after failures.")
    created_at: datetime
    created_by: str
    updated_at: datetime


class SubscriptionsTold(BaseModel):
    """A tenant's destinations."""

    data: list[SubscriptionTold]


class SubscriptionCreated(SubscriptionTold):
    """A destination whose secret was made now."""

    secret: str | None = Field(
        default=None,
        description="What signs. Shown once: an answer repeated for an Idempotency-Key does not hold it.",
    )


class DeliveryTold(Told):
    """One event for one destination; status and error are of the last attempt."""

    delivery_id: UUID
    event_id: UUID
    type: str
    subject: str
    state: str = Field(description="pending, delivered or failed (given up; replay it).")
    attempts: int = Field(description="Since it was last made pending.")
    replays: int
    due_at: datetime
    status: int | None
    error: str | None
    created_at: datetime
    closed_at: datetime | None


class AttemptTold(Told):
    """One try."""

    at: datetime
    outcome: str = Field(description="delivered, again or failed.")
    status: int | None = Field(description="Null when nothing answered.")
    milliseconds: int
    error: str | None
    reply: str = Field(description="The beginning of the answer.")


class DeliveryShown(DeliveryTold):
    """One delivery with its tries, as far as the log keeps them (30 days)."""

    log: list[AttemptTold]


class DeliveryQuery(PageQuery):
    """Which deliveries."""

    state: Literal["pending", "delivered", "failed"] | None = None


class Deleted(BaseModel):
    """It is gone; its log stays for its time."""

    deleted: bool = True


class Replayed(BaseModel):
    """How many events are sent again, or would be."""

    events: int


@router.get("", response_model=SubscriptionsTold)
def list_subscriptions(work: Reader) -> SubscriptionsTold:
    """List destinations, oldest first."""
    with work.transaction() as connection:
        found = subscriptions.listed(connection, work.tenant)
    return SubscriptionsTold(data=[SubscriptionTold.model_validate(one) for one in found])


@router.post("", status_code=201, response_model=SubscriptionCreated)
def create_webhook(given: WebhookGiven, work: Manager) -> Response:
    """Post accounting events to an address, signed, from the next event on."""
    made: list[str] = []

    def act(connection: Connection) -> SubscriptionTold:
        created = subscriptions.create_webhook(
            connection,
            work.context.intuit.vault,
            outgoing(),
            work.tenant,
            name=given.name,
            url=given.url,
            event_types=given.event_types,
            per_minute=given.per_minute,
            actor=work.caller.actor,
        )
        made.append(created.secret)
        return SubscriptionTold.model_validate(created.subscription)

    return _with_secret(work.once(act, 201), made)


@router.post("/algapsa", status_code=201, response_model=SubscriptionTold)
def record_in_algapsa(given: AlgaPsaGiven, work: Manager) -> Response:
    """Record payments made in QuickBooks through AlgaPSA's REST API, from the next one on."""

    def act(connection: Connection) -> SubscriptionTold:
        made = subscriptions.create_algapsa(
            connection,
            work.context.intuit.vault,
            outgoing(),
            work.tenant,
            url=given.url,
            api_key=given.api_key.get_secret_value(),
            actor=work.caller.actor,
        )
        return SubscriptionTold.model_validate(made)

    return work.once(act, 201)


@router.get("/{subscription_id}", response_model=SubscriptionTold)
def show_subscription(subscription_id: UUID, work: Reader) -> SubscriptionTold:
    """Show one destination."""
    with work.transaction() as connection:
        return SubscriptionTold.model_validate(subscriptions.get(connection, work.tenant, subscription_id))


@router.patch("/{subscription_id}", response_model=SubscriptionTold)
def change_subscription(subscription_id: UUID, given: ChangeGiven, work: Manager) -> Response:
    """Change what is given. A new address gets a new chance at once."""

    def act(connection: Connection) -> SubscriptionTold:
        if given.api_key is not None:
            subscriptions.set_api_key(
                connection,
                work.context.intuit.vault,
                work.tenant,
                subscription_id,
                given.api_key.get_secret_value(),
                actor=work.caller.actor,
            )
        changed = subscriptions.change(
            connection,
            outgoing(),
            work.tenant,
            subscription_id,
            name=given.name,
            url=given.url,
            event_types=given.event_types,
            per_minute=given.per_minute,
            actor=work.caller.actor,
        )
        return SubscriptionTold.model_validate(changed)

    return work.once(act)


@router.delete("/{subscription_id}", response_model=Deleted)
def delete_subscription(subscription_id: UUID, work: Manager) -> Response:
    """Send nothing more, ever; what it was still owed is given up."""

    def act(connection: Connection) -> Deleted:
        subscriptions.delete(connection, work.tenant, subscription_id, actor=work.caller.actor)
        return Deleted()

    return work.once(act)


@router.post("/{subscription_id}/rotate", response_model=SubscriptionCreated)
def rotate_secret(subscription_id: UUID, work: Manager) -> Response:
    """Sign with a fresh secret from now on; what is refused until the receiver knows it is sent again."""
    made: list[str] = []

    def act(connection: Connection) -> SubscriptionTold:
        vault = work.context.intuit.vault
        created = subscriptions.rotate(
            connection, vault, work.tenant, subscription_id, actor=work.caller.actor
        )
        made.append(created.secret)
        return SubscriptionTold.model_validate(created.subscription)

    return _with_secret(work.once(act), made)


@router.post("/{subscription_id}/pause", response_model=SubscriptionTold)
def pause_subscription(subscription_id: UUID, given: PauseGiven, work: Manager) -> Response:
    """Send nothing for now; what it is owed waits."""

    def act(connection: Connection) -> SubscriptionTold:
        paused = subscriptions.pause(
            connection, work.tenant, subscription_id, reason=given.reason, actor=work.caller.actor
        )
        return SubscriptionTold.model_validate(paused)

    return work.once(act)


@router.post("/{subscription_id}/resume", response_model=SubscriptionTold)
def resume_subscription(subscription_id: UUID, work: Manager) -> Response:
    """Go on where it stopped, after a pause or after it was disabled."""

    def act(connection: Connection) -> SubscriptionTold:
        resumed = subscriptions.resume(connection, work.tenant, subscription_id, actor=work.caller.actor)
        return SubscriptionTold.model_validate(resumed)

    return work.once(act)


@router.post("/{subscription_id}/test", status_code=202, response_model=DeliveryTold)
def test_subscription(subscription_id: UUID, work: Manager) -> Response:
    """Send a test event, whatever state the webhook is in; read the delivery to see how it ended."""

    def act(connection: Connection) -> DeliveryTold:
        made = deliveries.test(connection, work.tenant, subscription_id, actor=work.caller.actor)
        return DeliveryTold.model_validate(deliveries.get(connection, subscription_id, made))

    return work.once(act, 202)


@router.post("/{subscription_id}/replay", status_code=202, response_model=Replayed)
def replay_range(subscription_id: UUID, given: ReplayGiven, work: Manager) -> Response:
    """Send the events of a time range again, each under the id of its delivery; or for the first time."""

    def act(connection: Connection) -> Replayed:
        return Replayed(
            events=deliveries.replay_range(
                connection,
                work.tenant,
                subscription_id,
                since=given.since,
                before=given.before,
                types=given.event_types,
                actor=work.caller.actor,
                dry_run=given.dry_run,
            )
        )

    return work.once(act, 202)


@router.get("/{subscription_id}/deliveries", response_model=Page[DeliveryTold])
def list_deliveries(
    subscription_id: UUID, query: Annotated[DeliveryQuery, Query()], work: Reader
) -> Page[DeliveryTold]:
    """List what a destination was sent and is owed, newest first."""
    with work.transaction() as connection:
        found = deliveries.page(
            connection,
            work.tenant,
            subscription_id,
            state=query.state,
            after=moment_of(query.cursor),
            limit=query.limit,
        )
    data = [DeliveryTold.model_validate(one) for one in found.deliveries]
    return Page(data=data, next_cursor=cursor_of(found.after))


@router.get("/{subscription_id}/deliveries/{delivery_id}", response_model=DeliveryShown)
def show_delivery(subscription_id: UUID, delivery_id: UUID, work: Reader) -> DeliveryShown:
    """Show one delivery with its tries: code, time, error and the beginning of each answer."""
    with work.transaction() as connection:
        found = deliveries.get(connection, subscription_id, delivery_id)
        tries = deliveries.attempts(connection, delivery_id)
    log = [AttemptTold.model_validate(one) for one in tries]
    return DeliveryShown(**DeliveryTold.model_validate(found).model_dump(), log=log)


@router.post(
    "/{subscription_id}/deliveries/{delivery_id}/replay", status_code=202, response_model=DeliveryTold
)
def replay_delivery(subscription_id: UUID, delivery_id: UUID, work: Manager) -> Response:
    """Send one delivery again, under its own id."""

    def act(connection: Connection) -> DeliveryTold:
        replayed = deliveries.replay(
            connection, work.tenant, subscription_id, delivery_id, actor=work.caller.actor
        )
        return DeliveryTold.model_validate(replayed)

    return work.once(act, 202)


def _with_secret(answer: Response, made: list[str]) -> Response:
    """The answer with the secret in it. It is put in here, so that no stored outcome of a request ever holds it."""
    if not made:
        return answer
    told: dict[str, Any] = json.loads(bytes(answer.body))
    body = json.dumps(told | {"secret": made[0]})
    return Response(body, answer.status_code, media_type="application/json")
