"""`algasync explain`: the whole story of one document, in both systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import console
from services.cli.options import Json, Tenant, instant

if TYPE_CHECKING:
    from services.ledger.history import History


def explain(
    document: Annotated[
        str,
        typer.Argument(
            help="kind/id, a number such as INV-1042, billing's id, or Invoice:145 for QuickBooks' id 145."
        ),
    ],
    tenant: Tenant = None,
    as_of: Annotated[
        Any,
        typer.Option(
            parser=instant, metavar="AGE|DATE", help="What was known then: 12h, 7d ago, or an ISO moment."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Tell every step of a document: what billing said, what was asked of QuickBooks and answered, who decided what.

    The entries are chained by hash: exit code 1 when something was changed or removed since it was written.

    Example: algasync explain INV-1042 --tenant acme
    Example: algasync explain invoice/0190b3c4-7d1e --as-of 2026-10-31T23:59
    """
    from services.cli import wiring
    from services.ledger import history

    with wiring.transaction(tenant) as connection:
        found = history.find(connection, document)
        if len(found) != 1:
            raise _not_one(document, found)
        told = history.of_document(connection, *found[0], as_of=as_of)
    assert told is not None  # what was found has a history
    if json:
        console.result(console.plain(told))
    else:
        _print(told)
    if not told.intact:
        raise typer.Exit(console.FAILED)


def _print(told: History) -> None:
    console.say(f"{told.kind} {told.document_id} of tenant {told.tenant_id}")
    chain = "intact" if told.intact else "BROKEN: entries were changed or removed after they were written"
    console.say(f"{len(told.steps)} steps, chain {chain}\n")
    rows = [(step.entry.at, step.entry.actor, step.sentence, _ids(step.entry.details)) for step in told.steps]
    console.table(("WHEN", "WHO", "WHAT", "IDS"), rows)
    moment = told.moment
    console.say(f"\nKnown {'at ' + told.as_of.isoformat() if told.as_of else 'now'}")
    billing = moment.billing
    console.facts(
        [
            ("billing said", f"{billing['said']}, event {billing['sequence']}" if billing else "nothing"),
            (
                "QuickBooks has",
                " ".join(f"{name}={value}" for name, value in moment.quickbooks.items())
                or "nothing that we know of",
            ),
            ("owed", ", ".join(f"{one} {state}" for one, state in moment.operations.items())),
            ("needs a person", "; ".join(moment.exceptions.values())),
            ("see also", ", ".join(f"{kind}/{id_}" for kind, id_, _ in told.related)),
        ]
    )


def _ids(details: dict[str, Any]) -> str:
    named = (("event", "event_id"), ("requestid", "requestid"), ("tid", "intuit_tid"))
    return " ".join(f"{short}={details[name]}" for short, name in named if details.get(name))


def _not_one(document: str, found: Any) -> console.Told:
    if not found:
        sentence = f"no document is known as {document!r}; give kind/id, its number, or Invoice:145 for QuickBooks' id"
    else:
        listed = ", ".join(f"{kind}/{id_} of {tenant}" for tenant, kind, id_ in found)
        sentence = f"{document!r} names several documents: {listed}; give kind/id, and --tenant"
    return console.Told(sentence, code="unknown_document", field="document", exit_code=console.USAGE)
