"""`algasync recover`: bring back what the broker lost, at once instead of within the hour."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from services.cli import console
from services.cli.options import Json

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count what would be done.")]


def recover(dry_run: DryRun = False, json: Json = False) -> None:
    """Send again whatever the broker may have lost, rebuild missing letters, and mend the ledger's liveness.

    Safe at any time and as often as you like: whatever did arrive is recognised, and nothing is done twice. The
    running fleet does the same by itself, a minute to an hour later.

    Example: algasync recover
    """
    from outbox import recovery
    from services.cli import wiring
    from services.exceptions import upkeep
    from services.ledger import dispatch, sweep

    with wiring.transaction(None) as connection:
        broken = sweep.violations(connection)
        done = {
            "events_published_again": recovery.publish_again(connection),
            "commands_sent_again": dispatch.resend_all(connection),
            "letters_rebuilt": upkeep.rebuild(connection, grace=timedelta()),
            "liveness_violations": sum(broken.values()),
            "liveness_repaired": sum(sweep.sweep(connection).values()),
        }
        if dry_run:
            connection.rollback()
    if console.mode.json:
        console.result({"dry_run": dry_run, **done})
        return
    would = "would be " if dry_run else ""
    console.say(f"{done['events_published_again']} billing events {would}published again")
    console.say(f"{done['commands_sent_again']} commands {would}sent again")
    console.say(f"{done['letters_rebuilt']} dead letters {would}rebuilt from the ledger")
    console.say(f"{done['liveness_violations']} operations broke the liveness rule, {would}repaired")
