"""`algasync onboard`: products and services, and payments of history."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli import console
from services.cli.options import Actor, Company, Json, Limit, OneTenant

Status = Annotated[str, typer.Option(help="Only this one, e.g. create or review.")]


def items(
    tenant: OneTenant,
    company: Company = None,
    status: Status = "",
    link_found: Annotated[
        bool, typer.Option("--link-found", help="Link every item with exactly one counterpart.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask QuickBooks even if its list is recent.")
    ] = False,
    limit: Limit = 100,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Show which item is which service, and which the PSA would have to create. Nothing is written to QuickBooks.

    Example: algasync onboard items --tenant acme --link-found
    """
    from services.cli.onboard_desk import at_desk, counted
    from services.connections import catalog
    from services.onboarding import items as rules

    with at_desk(tenant, company, actor, read=False) as desk:
        company_id = desk.run.company_id
        catalog.read(desk.database, desk.clients, tenant, company_id, ["Item"], refresh=refresh)
        linked = 0
        if link_found:
            linked = rules.link_found(desk.database, desk.run, actor=desk.actor, on_mapping_set=desk.release)
        with desk.transaction() as connection:
            found = rules.plan(connection, desk.run)
    shown = [one for one in found if status in ("", one.action)][:limit]
    if json:
        console.result({"linked": linked, "counts": rules.count(found), "items": shown})
        return
    console.table(
        ("ITEM", "NAME", "SKU", "KIND", "BECOMES", "SERVICE", "WHY"),
        (
            (
                one.item_id,
                one.item.full_name,
                one.item.sku,
                one.item.kind,
                one.action,
                one.service_id,
                f"{one.why} [{', '.join(one.flags)}]" if one.flags else one.why,
            )
            for one in shown
        ),
    )
    console.say(f"{linked} linked now; {counted(rules.count(found))}")


def link_item(
    service: Annotated[str, typer.Argument(help="Our id of the service.")],
    item: Annotated[str, typer.Argument(help="The item's id in QuickBooks.")],
    tenant: OneTenant,
    company: Company = None,
    imported: Annotated[
        bool, typer.Option("--imported", help="The service was just made of this item.")
    ] = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Link one service to the item you choose, or remember what the PSA made of an item.

    Example: algasync onboard link-item svc-backup 17 --tenant acme
    """
    from services.cli.onboard_desk import at_desk
    from services.onboarding import items as rules

    with at_desk(tenant, company, actor, read=False) as desk, desk.transaction() as connection:
        if imported:
            rules.imported(connection, desk.run, item, service, actor=desk.actor, on_mapping_set=desk.release)
        else:
            rules.link(connection, desk.run, service, item, actor=desk.actor, on_mapping_set=desk.release)
    if json:
        console.result({"service": service, "item": item})
    else:
        console.say(f"Service {service} is item {item}.")


def payments(
    tenant: OneTenant,
    company: Company = None,
    status: Status = "",
    bring_over: Annotated[
        bool, typer.Option("--bring-over", help="Hand them to the ordinary applier.")
    ] = False,
    limit: Limit = 100,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Read the company's payments and show which pay linked invoices; with --bring-over tell billing of them.

    Example: algasync onboard payments --tenant acme --bring-over
    """
    from services.cli.onboard_desk import at_desk, counted
    from services.onboarding import payments as rules

    with at_desk(tenant, company, actor, entities=("Payment",)) as desk:
        with desk.transaction() as connection:
            found = rules.plan(connection, desk.run)
        taken = rules.bring_over(desk.database, desk.run, actor=desk.actor) if bring_over else {}
    shown = [one for one in found if status in ("", one.verdict)][:limit]
    if json:
        console.result({"taken": taken, "counts": rules.count(found), "payments": shown})
        return
    console.table(
        ("PAYMENT", "DATE", "AMOUNT", "CUSTOMER", "INVOICES", "VERDICT", "WHY"),
        (
            (one.id, one.day, one.amount, one.customer, ", ".join(one.invoices), one.verdict, one.why)
            for one in shown
        ),
    )
    console.say(f"{counted(taken)}; {counted(rules.count(found))}" if taken else counted(rules.count(found)))
