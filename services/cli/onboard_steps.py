"""The wizard's walk in the terminal: customers, history, go-live, with a question wherever a person decides."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.prompt import Confirm, Prompt

from services.connections import catalog
from services.onboarding import (
    creation,
    customer_matches,
    customers,
    golive,
    history,
    history_matches,
    items,
    payments,
)
from services.outbound.handlers import HANDLERS
from services.refusals import Refusal

if TYPE_CHECKING:
    from services.cli.onboard_desk import Desk

_out = Console(highlight=False)


def walk(desk: Desk) -> None:
    """All steps in order. Ctrl-C leaves at any question; the next run goes on there."""
    _customers(desk)
    _history(desk)
    _payments(desk)
    _items(desk)
    _go_live(desk)


def _customers(desk: Desk) -> None:
    _out.rule("1 Customers")
    counts = customer_matches.count(_plan(desk))
    for status, number in counts.items():
        _out.print(f"{number:>7,}  {status}")
    if counts["exact"] and Confirm.ask(f"Link the {counts['exact']} exact ones?", default=True):
        customers.accept_exact(desk.database, desk.run, actor=desk.actor, on_mapping_set=desk.release)
    open_ = [match for match in _plan(desk) if match.status in ("suggested", "unmatched")]
    if not open_ or not Confirm.ask(f"Go through the other {len(open_)} one by one?", default=False):
        return
    for match in open_:
        _out.print(f"\n{match.client.name} ({match.client.id})", markup=False, style="bold")
        _out.print(match.why, markup=False)
        for number, one in enumerate(match.candidates, start=1):
            _out.print(f"  {number}  {one.name} ({one.id})  {one.score:.2f}  {one.evidence}", markup=False)
        answer = Prompt.ask("Number, QuickBooks id as =ID, c to create, Enter to leave", default="")
        _answered(desk, match, answer.strip())


def _answered(desk: Desk, match: customer_matches.Match, answer: str) -> None:
    try:
        if answer == "c":
            made = creation.create(
                desk.database,
                desk.clients,
                desk.run,
                match.client.at,
                actor=desk.actor,
                on_mapping_set=desk.release,
            )
            _out.print(f"Created customer {made}.")
            return
        chosen = answer.removeprefix("=") if answer.startswith("=") else ""
        if answer.isdecimal() and 0 < int(answer) <= len(match.candidates):
            chosen = match.candidates[int(answer) - 1].id
        if chosen:
            with desk.transaction() as connection:
                customers.link(
                    connection,
                    desk.run,
                    match.client.at,
                    chosen,
                    actor=desk.actor,
                    on_mapping_set=desk.release,
                )
    except Refusal as refused:
        _out.print(f"Not linked: {refused.sentence}", markup=False)


def _history(desk: Desk) -> None:
    _out.rule("2 History")
    found = history.match(desk.database, desk.run)
    counts = history_matches.count(found)
    for name, number in counts.items():
        _out.print(f"{number:>7,}  {name}")
    if counts["confident"] and Confirm.ask(
        f"Link the {counts['confident']:,} that agree in all facts?", default=True
    ):
        history.link_confident(desk.database, desk.run, actor=desk.actor)
    doubtful = [match for match in found if match.status == "review"]
    if not doubtful or not Confirm.ask(f"Look at the {len(doubtful):,} doubtful ones now?", default=False):
        return
    for match in doubtful:
        document = match.document
        _out.print(f"\n{document.kind} {document.number} of {document.date}", markup=False, style="bold")
        _out.print(match.why, markup=False)
        for there in match.found:
            _out.print(f"  {there.id}  {there.number}  {there.day}  {there.total}", markup=False)
        answer = Prompt.ask("QuickBooks id to link, Enter to leave", default="").strip()
        if not answer:
            continue
        try:
            with desk.transaction() as connection:
                history.link(connection, desk.run, document.kind, document.id, answer, actor=desk.actor)
        except Refusal as refused:
            _out.print(f"Not linked: {refused.sentence}", markup=False)


def _payments(desk: Desk) -> None:
    from services.cli.onboard_desk import read_books

    _out.rule("3 Payments")
    if not Confirm.ask("Read the payments too, so that balances of linked invoices agree?", default=True):
        return
    read_books(desk, ("Payment",))
    with desk.transaction() as connection:
        found = payments.plan(connection, desk.run)
    counts = payments.count(found)
    for name, number in counts.items():
        _out.print(f"{number:>7,}  {name}")
    if counts["bring"] and Confirm.ask(f"Bring the {counts['bring']:,} over to billing?", default=True):
        taken = payments.bring_over(desk.database, desk.run, actor=desk.actor)
        _out.print(f"{taken['new']:,} go through the applier now.")


def _items(desk: Desk) -> None:
    _out.rule("4 Products and services")
    catalog.read(desk.database, desk.clients, desk.run.tenant_id, desk.run.company_id, ["Item"])
    with desk.transaction() as connection:
        counts = items.count(items.plan(connection, desk.run))
    for name, number in counts.items():
        _out.print(f"{number:>7,}  {name}")
    if counts["link"] and Confirm.ask(f"Link the {counts['link']} with one counterpart?", default=True):
        items.link_found(desk.database, desk.run, actor=desk.actor, on_mapping_set=desk.release)


def _go_live(desk: Desk) -> None:
    from services.cli.onboard_desk import go_live, summed

    _out.rule("5 Go-live")
    today = datetime.now(UTC).date().isoformat()
    written = Prompt.ask("Cutover: documents dated from this day on are ours", default=today)
    try:
        cutover = datetime.strptime(written, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise typer.BadParameter(f"{written!r} is no date like {today}") from None
    with desk.transaction() as connection:
        waiting = golive.waiting(connection, desk.run, HANDLERS, cutover)
        steps = golive.dry_run(connection, desk.run, HANDLERS, cutover)
    for one in waiting:
        _out.print(summed(one))
    for name, number in golive.count(steps).items():
        _out.print(f"{number:>7,}  {name}")
    decision = "export"
    if waiting:
        decision = Prompt.ask("What waits is to be", choices=["export", "handled"])
    if Confirm.ask("Switch automatic sync on now?", default=False):
        go_live(desk, cutover, decision)
        _out.print(f"Live from {cutover} on.")
    else:
        _out.print("Left as it is; run algasync onboard again to go on.")


def _plan(desk: Desk) -> list[customer_matches.Match]:
    return customers.plan(desk.database, desk.run)
