"""`algasync subscriptions`: where accounting events go by themselves, and what became of each."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from services.cli import console
from services.cli.options import (
    Actor,
    After,
    Because,
    Before,
    DryRun,
    Json,
    Limit,
    OneTenant,
    Since,
    next_page,
    said,
)

if TYPE_CHECKING:
    from services.connections.vault import Vault
    from services.psa.subscriptions import Subscription

app = typer.Typer(no_args_is_help=True, help="Webhooks, and recording payments in AlgaPSA.")

Id = Annotated[UUID, typer.Argument(help="The subscription's id, as `subscriptions list --json` shows it.")]
DeliveryId = Annotated[UUID, typer.Argument(help="The delivery's id.")]
Type = Annotated[
    list[str] | None, typer.Option("--type", help="Such as payment.received.v1; several times for more.")
]
Url = Annotated[str, typer.Option(help="An https address; http only inside the operator's networks.")]
TEST_SECONDS = 60.0


@app.command("list", epilog="Example: algasync subscriptions list --tenant acme")
def list_(tenant: OneTenant, json: Json = False) -> None:
    """List a tenant's destinations: state, what they are owed, how they fail."""
    from services.cli import wiring
    from services.psa import subscriptions

    with wiring.transaction(tenant) as connection:
        found = subscriptions.listed(connection, tenant)
    if json:
        console.result({"subscriptions": found})
        return
    console.table(
        ("ID", "KIND", "NAME", "URL", "TYPES", "STATE", "PENDING", "FAILURES", "LAST SUCCESS", "NOTE"),
        (
            (
                str(one.subscription_id),
                one.kind,
                one.name,
                one.url,
                " ".join(one.event_types),
                one.state,
                one.pending,
                one.failures,
                one.last_success_at,
                one.state_reason,
            )
            for one in found
        ),
    )


@app.command(
    epilog="Example: algasync subscriptions create --tenant acme --name psa --url https://psa.example/hooks"
)
def create(
    tenant: OneTenant,
    name: Annotated[str, typer.Option(help="By which people know it.")],
    url: Url,
    type_: Type = None,
    per_minute: Annotated[int | None, typer.Option(min=1, max=6000, help="Deliveries at most.")] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Post events to an address from now on. The secret that signs them is shown this once."""
    from services.cli import wiring
    from services.psa import subscriptions
    from services.psa.addresses import outgoing

    with wiring.transaction(tenant) as connection:
        made = subscriptions.create_webhook(
            connection,
            _vault(),
            outgoing(),
            tenant,
            name=name,
            url=url,
            event_types=type_ or [subscriptions.ALL],
            per_minute=per_minute,
            actor=str(actor),
        )
    _tell_secret(made.subscription, made.secret)


@app.command(
    epilog="Example: algasync subscriptions algapsa --tenant acme --url https://alga.example < api-key.txt"
)
def algapsa(
    tenant: OneTenant,
    url: Annotated[str, typer.Option(help="Where AlgaPSA is, without /api.")],
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Record payments made in QuickBooks through AlgaPSA's REST API. The API key is read from standard input."""
    from services.cli import wiring
    from services.psa import subscriptions
    from services.psa.addresses import outgoing

    api_key = sys.stdin.readline()
    with wiring.transaction(tenant) as connection:
        made = subscriptions.create_algapsa(
            connection, _vault(), outgoing(), tenant, url=url, api_key=api_key, actor=str(actor)
        )
    _tell(made, "records payments from now on")


@app.command(
    epilog="Example: algasync subscriptions change 0190b3c4-... --tenant acme --url https://new.example/h"
)
def change(
    subscription_id: Id,
    tenant: OneTenant,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    url: Annotated[str | None, typer.Option(help="Another address; it is tried at once.")] = None,
    type_: Type = None,
    per_minute: Annotated[int | None, typer.Option(min=1, max=6000, help="Deliveries at most.")] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Change what is given; what is left out stays."""
    from services.cli import wiring
    from services.psa import subscriptions
    from services.psa.addresses import outgoing

    with wiring.transaction(tenant) as connection:
        changed = subscriptions.change(
            connection,
            outgoing(),
            tenant,
            subscription_id,
            name=name,
            url=url,
            event_types=type_ or None,
            per_minute=per_minute,
            actor=str(actor),
        )
    _tell(changed, "is changed")


@app.command(epilog="Example: algasync subscriptions rotate 0190b3c4-... --tenant acme")
def rotate(subscription_id: Id, tenant: OneTenant, actor: Actor = None, json: Json = False) -> None:
    """Sign with a fresh secret from now on; what is refused until the receiver knows it is sent again."""
    from services.cli import wiring
    from services.psa import subscriptions

    with wiring.transaction(tenant) as connection:
        made = subscriptions.rotate(connection, _vault(), tenant, subscription_id, actor=str(actor))
    _tell_secret(made.subscription, made.secret)


@app.command(epilog="Example: algasync subscriptions pause 0190b3c4-... --tenant acme --reason upgrade")
def pause(
    subscription_id: Id, tenant: OneTenant, reason: Because = None, actor: Actor = None, json: Json = False
) -> None:
    """Send nothing for now; what it is owed waits."""
    from services.cli import wiring
    from services.psa import subscriptions

    why = said(reason, "--reason", "the receiver is being upgraded")
    with wiring.transaction(tenant) as connection:
        paused = subscriptions.pause(connection, tenant, subscription_id, reason=why, actor=str(actor))
    _tell(paused, "is paused")


@app.command(epilog="Example: algasync subscriptions resume 0190b3c4-... --tenant acme")
def resume(subscription_id: Id, tenant: OneTenant, actor: Actor = None, json: Json = False) -> None:
    """Go on where it stopped, after a pause or after it was disabled."""
    from services.cli import wiring
    from services.psa import subscriptions

    with wiring.transaction(tenant) as connection:
        resumed = subscriptions.resume(connection, tenant, subscription_id, actor=str(actor))
    _tell(resumed, f"goes on; it is owed {resumed.pending}")


@app.command(epilog="Example: algasync subscriptions delete 0190b3c4-... --tenant acme")
def delete(subscription_id: Id, tenant: OneTenant, actor: Actor = None, json: Json = False) -> None:
    """Send nothing more, ever; what it was still owed is given up."""
    from services.cli import wiring
    from services.psa import subscriptions

    with wiring.transaction(tenant) as connection:
        found = subscriptions.get(connection, tenant, subscription_id)
        subscriptions.delete(connection, tenant, subscription_id, actor=str(actor))
    _tell(found, f"is deleted; {found.pending} deliveries are given up")


@app.command("test", epilog="Example: algasync subscriptions test 0190b3c4-... --tenant acme")
def send_test(subscription_id: Id, tenant: OneTenant, actor: Actor = None, json: Json = False) -> None:
    """Send a test event and wait for its end; the fleet sends it. Exit code 1 when it did not arrive."""
    import time

    from services.cli import wiring
    from services.psa import deliveries

    with wiring.transaction(tenant) as connection:
        delivery_id = deliveries.test(connection, tenant, subscription_id, actor=str(actor))
    deadline = time.monotonic() + TEST_SECONDS
    while True:
        with wiring.transaction(tenant) as connection:
            found = deliveries.get(connection, subscription_id, delivery_id)
            tries = deliveries.attempts(connection, delivery_id)
        if found.state != "pending" or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    if found.state == "pending":
        raise console.Told(
            f"nobody sent the test within {TEST_SECONDS:g} s: are dispatcher and workers running?"
        )
    if json:
        console.result({"delivery": found, "log": tries})
    else:
        last = tries[-1]
        console.say(f"{last.status or 'no answer'} in {last.milliseconds} ms. {last.error or 'It arrived.'}")
    if found.state != "delivered":
        raise typer.Exit(console.FAILED)


@app.command("deliveries", epilog="Example: algasync subscriptions deliveries 0190b3c4-... --state failed")
def deliveries_(
    subscription_id: Id,
    tenant: OneTenant,
    state: Annotated[str | None, typer.Option(help="pending, delivered or failed.")] = None,
    limit: Limit = 50,
    after: After = None,
    json: Json = False,
) -> None:
    """List what a destination was sent and is owed, newest first."""
    from services.cli import wiring
    from services.psa import deliveries

    with wiring.transaction(tenant) as connection:
        found = deliveries.page(connection, tenant, subscription_id, state=state, after=after, limit=limit)
    if json:
        console.result({"deliveries": found.deliveries, "next": next_page(found.after)})
        return
    console.table(
        ("ID", "TYPE", "SUBJECT", "STATE", "TRY", "DUE", "STATUS", "MESSAGE"),
        (
            (
                str(one.delivery_id),
                one.type,
                one.subject,
                one.state,
                one.attempts,
                one.due_at if one.state == "pending" else None,
                one.status,
                one.error,
            )
            for one in found.deliveries
        ),
    )


@app.command(epilog="Example: algasync subscriptions attempts 0190b3c4-... 0190b3c5-... --tenant acme")
def attempts(subscription_id: Id, delivery_id: DeliveryId, tenant: OneTenant, json: Json = False) -> None:
    """Show every try of a delivery: code, time, error and the beginning of the answer."""
    from services.cli import wiring
    from services.psa import deliveries

    with wiring.transaction(tenant) as connection:
        found = deliveries.get(connection, subscription_id, delivery_id)
        tries = deliveries.attempts(connection, delivery_id)
    if json:
        console.result({"delivery": found, "log": tries})
        return
    console.table(
        ("AT", "OUTCOME", "STATUS", "MS", "MESSAGE", "NOTE"),
        ((one.at, one.outcome, one.status, one.milliseconds, one.error, one.reply) for one in tries),
    )


@app.command(epilog="Example: algasync subscriptions replay 0190b3c4-... --tenant acme --since 2d --dry-run")
def replay(
    subscription_id: Id,
    tenant: OneTenant,
    delivery_id: Annotated[UUID | None, typer.Argument(help="One delivery; else give --since.")] = None,
    since: Since = None,
    before: Before = None,
    type_: Type = None,
    dry_run: DryRun = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Send one delivery again, or every event of a time range, each under the id of its delivery."""
    from services.cli import wiring
    from services.psa import deliveries

    if (delivery_id is None) == (since is None):
        raise console.Told(
            "name a delivery, or a time range with --since (and --before)",
            code="invalid_range",
            field="--since",
            exit_code=console.USAGE,
        )
    with wiring.transaction(tenant) as connection:
        if delivery_id is not None:
            count = 1
            found = deliveries.get(connection, subscription_id, delivery_id)
            if not dry_run:
                deliveries.replay(connection, tenant, subscription_id, found.delivery_id, actor=str(actor))
        else:
            assert isinstance(since, datetime)
            count = deliveries.replay_range(
                connection,
                tenant,
                subscription_id,
                since=since,
                before=before,
                types=type_ or None,
                actor=str(actor),
                dry_run=dry_run,
            )
    if json:
        console.result({"events": count, "dry_run": dry_run})
    else:
        console.say(f"{count} events {'would be' if dry_run else 'are'} sent again.")


def _vault() -> Vault:
    from services.configuration import configuration
    from services.connections.vault import Vault

    return Vault.of(configuration())


def _tell(found: Subscription, done: str, **more: Any) -> None:
    if console.mode.json:
        console.result({"subscription": found, **more})
        return
    console.say(f"{found.name} ({found.subscription_id}) {done}.")


def _tell_secret(found: Subscription, secret: str) -> None:
    if console.mode.json:
        console.result({"subscription": found, "secret": secret})
        return
    console.say(secret)
    console.note(f"Signs what is sent to {found.url} (subscription {found.subscription_id}).")
    console.note("This is the only time it is shown.")
