"""`algasync plan`: the exact calls that the backlog would make now."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli import console
from services.cli.options import Company, Json, Limit, OneTenant


def plan(
    tenant: OneTenant,
    company: Company = None,
    bodies: Annotated[bool, typer.Option("--bodies", help="Print the exact body of every call.")] = False,
    limit: Limit = 500,
    json: Json = False,
) -> None:
    """Show the calls that the backlog would make, and the resulting totals, by the code that makes them.

    Changes nothing and calls nobody. Ids that begin with new: are known once the call before is made.

    Example: algasync plan --tenant acme --bodies
    """
    from services.cli import wiring
    from services.onboarding import plan as rules
    from services.outbound.handlers import HANDLERS

    with wiring.transaction(tenant) as connection:
        company_id = wiring.chosen_company(connection, tenant, company).company_id
        steps = rules.steps(connection, tenant, company_id, HANDLERS, limit=limit)
    found = rules.summary(steps)
    if json:
        console.result({"summary": found, "steps": steps})
        return
    if bodies:
        for step in steps:
            if step.call is not None:
                console.say(f"{step.call.method} {step.call.target}\n{step.call.body}\n")
    console.table(
        ("DOCUMENT", "NUMBER", "DATE", "CLIENT", "WOULD", "CALL", "TOTAL", "CURRENCY", "WHY"),
        (
            (
                step.document_kind,
                step.number or step.document_id,
                step.day,
                step.client,
                f"{step.would}, after {' and '.join(step.after)}" if step.after else step.would,
                f"{step.call.operation} {step.call.entity}" if step.call else "",
                step.call.total if step.call else "",
                step.currency,
                "QuickBooks would show another total than billing" if step.differs else step.why,
            )
            for step in steps
        ),
    )
    for label, sums in found.totals.items():
        said = ", ".join(f"{total} {currency}" for currency, total in sums.items())
        console.say(f"{found.calls[label]} x {label}: {said}")
    console.say(
        ", ".join(f"{number} {would}" for would, number in found.steps.items()) or "Nothing is to be done."
    )
