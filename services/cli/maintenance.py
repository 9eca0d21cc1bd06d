"""`algasync migrate` and `doctor`: bring the database up to date, and say whether everything is as it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import console
from services.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.verification import Finding


def migrate(
    revision: Annotated[str, typer.Option(help="How far; the newest by default.")] = "head",
    json: Json = False,
) -> None:
    """Bring the database up to the newest revision. Safe while others do the same.

    Example: DATABASE_URL=postgresql://owner@db/algasync algasync migrate
    """
    from services import database
    from services.cli import wiring

    url = wiring.database_url()
    before = database.current_revision(url)
    reached = database.migrate(url, revision)
    if console.mode.json:
        console.result({"before": before, "revision": reached})
    elif before == reached:
        console.say(f"The database is at {reached} already.")
    else:
        console.say(f"The database went from {before or 'nothing'} to {reached}.")


def renew_secrets(json: Json = False) -> None:
    """Write every stored secret anew with the newest key of ALGASYNC_SECRET_KEYS, so that the old key can go.

    Safe while the fleet runs, and safe to repeat. First give every process both keys, the new one first.

    Example: ALGASYNC_SECRET_KEYS=new,old algasync renew-secrets
    """
    from services.cli import wiring
    from services.configuration import configuration
    from services.connections import renewal
    from services.connections.vault import Vault

    with wiring.transaction(None) as connection:
        done = renewal.renew(connection, Vault.of(configuration()))
    if json:
        console.result({"renewed": done})
        return
    for table, rows in done.items():
        console.say(f"{rows} of {table.replace('_', ' ')} written with the newest key")
    console.say("Once every process has both keys, the old one may be taken out of ALGASYNC_SECRET_KEYS.")


def doctor(json: Json = False) -> None:
    """Check database and broker, mend what can be mended safely, and say how to mend the rest.

    Exit code 0 when all is well (or was mended), 1 with warnings or errors, 3 when a server cannot be reached.

    Example: algasync doctor --json
    """
    from services.cli import checkup

    report = checkup.examine()
    if console.mode.json:
        console.result(
            {"healthy": report.healthy, "not_checked": report.not_checked, "findings": report.findings}
        )
    else:
        _print(report.findings)
        for what in report.not_checked:
            console.say(f"not checked: {what}")
        if report.healthy:
            console.say("Everything that was checked is as it must be.")
    if report.unreachable:
        raise typer.Exit(console.UNREACHABLE)
    if not report.healthy:
        raise typer.Exit(console.FAILED)


def _print(findings: Sequence[Finding]) -> None:
    for finding in findings:
        console.say(f"{finding.severity}: {finding.subject} {finding.what}")
        console.say(f"    why   {finding.why}")
        console.say(f"    mend  {finding.mend}\n")
