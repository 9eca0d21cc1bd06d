"""`algasync readiness`: what would fail, before it does."""

from __future__ import annotations

import json as json_
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import console
from services.cli.console import FAILED, USAGE, Told
from services.cli.options import Company, Json, Limit, OneTenant

if TYPE_CHECKING:
    from services.onboarding.plan import Step
    from services.onboarding.readiness import Verdict

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Of the documents' dates.")]


def readiness(
    tenant: OneTenant,
    file: Annotated[
        Path | None,
        typer.Argument(
            exists=True, dir_okay=False, help="Drafts: the data of a finalized event, or an array."
        ),
    ] = None,
    kind: Annotated[str, typer.Option(help="Of the drafts: invoice or credit_note.")] = "invoice",
    begin: Day = None,
    until: Day = None,
    company: Company = None,
    limit: Limit = 500,
    json: Json = False,
) -> None:
    """Say what would fail, by line, with the fix: of drafts in a file, or of a period. Exit code 1 on findings.

    Example: algasync readiness --tenant acme --begin 2026-11-01 --until 2026-11-30
    """
    from services.cli import wiring
    from services.onboarding import readiness as rules
    from services.outbound.handlers import HANDLERS

    if file is not None:
        if kind not in ("invoice", "credit_note"):
            raise Told(
                "kind is invoice or credit_note", code="invalid_value", field="--kind", exit_code=USAGE
            )
        with wiring.fleet_database() as database:
            verdicts = rules.check(
                database, tenant, "invoice" if kind == "invoice" else "credit_note", _drafts(file)
            )
        _told(verdicts, json=json)
        return
    if begin is None or until is None:
        raise Told(
            "name a file with drafts, or a period by --begin and --until",
            code="required",
            field="--begin",
            exit_code=USAGE,
        )
    with wiring.transaction(tenant) as connection:
        company_id = wiring.chosen_company(connection, tenant, company).company_id
        steps = rules.period(
            connection, tenant, company_id, HANDLERS, begin.date(), until.date(), limit=limit
        )
    _listed(steps, json=json)


def _told(verdicts: list[Verdict], *, json: bool) -> None:
    if json:
        console.result({"documents": verdicts})
    else:
        for one in verdicts:
            console.say(f"{one.number or one.document_id}: {one.why}.")
        console.table(
            ("DOCUMENT", "WHERE", "WHAT", "FIX"),
            (
                (one.number or one.document_id, finding.where, finding.what, finding.fix)
                for one in verdicts
                for finding in one.findings
            ),
        )
    if any(one.refuse for one in verdicts):
        raise typer.Exit(FAILED)


def _listed(steps: list[Step], *, json: bool) -> None:
    if json:
        console.result({"documents": steps})
    elif not steps:
        console.say("Everything of this period would go through, or has.")
    else:
        rows: list[tuple[Any, ...]] = []
        for step in steps:
            name = step.number or step.document_id
            rows += [(name, one.where, one.what, one.fix) for one in step.findings] or [
                (name, "", step.why, "")
            ]
        console.table(("DOCUMENT", "WHERE", "WHAT", "FIX"), rows)
    if steps:
        raise typer.Exit(FAILED)


def _drafts(path: Path) -> list[dict[str, Any]]:
    try:
        found = json_.loads(path.read_text(encoding="utf-8"))
    except ValueError as broken:
        said = f"{path} cannot be read: {broken}"
        raise Told(said, code="unreadable", field=str(path), exit_code=USAGE) from None
    listed = found if isinstance(found, list) else [found]
    if not all(isinstance(one, dict) for one in listed):
        said = f"{path} holds something else than documents"
        raise Told(said, code="unreadable", field=str(path), exit_code=USAGE)
    return listed
