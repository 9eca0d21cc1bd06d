"""`algasync recover`: bring back what the broker lost, at once instead of within the hour."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import console
from services.cli.options import Actor, Json, instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.inbound.restoration import Restored

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count what would be done.")]


AfterRestore = Annotated[
    datetime | None,
    typer.Option(
        "--after-restore",
        parser=instant,
        metavar="MOMENT",
        help="The database was restored from a backup of this moment, e.g. 2026-11-22T03:00Z.",
    ),
]
LookDays = Annotated[
    int, typer.Option(min=1, max=90, help="With --after-restore: days for which to look before creating.")
]


def recover(
    dry_run: DryRun = False,
    after_restore: AfterRestore = None,
    look_days: LookDays = 7,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Send again whatever the broker may have lost, rebuild missing letters, and mend the ledger's liveness.

    Safe at any time and as often as you like: whatever did arrive is recognised, and nothing is done twice. The
    running fleet does the same by itself, a minute to an hour later.

    After the database was restored from a backup: say so with --after-restore BEFORE the fleet starts. The fleet is
    paused, QuickBooks' changes are read again from a day before the backup, and until --look-days have passed every
    create first looks whether the document is in QuickBooks already (one metered read each).

    Example: algasync recover
    Example: algasync recover --after-restore 2026-11-22T03:00Z
    """
    from outbox import recovery
    from services.cli import wiring
    from services.exceptions import upkeep
    from services.inbound import restoration
    from services.ledger import dispatch, sweep

    with wiring.transaction(None) as connection:
        restored = (
            restoration.begin(
                connection,
                after_restore,
                look=timedelta(days=look_days),
                actor=str(actor),
                reason=f"the database was restored to {after_restore.isoformat()}",
            )
            if after_restore
            else []
        )
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
        console.result({"dry_run": dry_run, **done, "companies_restored": len(restored)})
        return
    would = "would be " if dry_run else ""
    console.say(f"{done['events_published_again']} billing events {would}published again")
    console.say(f"{done['commands_sent_again']} commands {would}sent again")
    console.say(f"{done['letters_rebuilt']} dead letters {would}rebuilt from the ledger")
    console.say(f"{done['liveness_violations']} operations broke the liveness rule, {would}repaired")
    if after_restore:
        _what_next(restored, after_restore)


def _what_next(restored: Sequence[Restored], moment: datetime) -> None:
    for one in restored:
        console.say(
            f"{one.tenant_id}: {one.name} looks before it creates until {one.look_first_until:%Y-%m-%d %H:%M}"
        )
    console.say(
        f"""
The fleet is paused. What to do next:
  1. let the billing system emit its events since {moment.isoformat()} again (POST /v1/events knows
     them by their ids); a billing system in the same database was restored with it and has nothing to emit
  2. start the processes, then: algasync resume --fleet
  3. reconnect the companies that algasync exceptions list names: their tokens have moved on since
  4. algasync reconcile for each company: it finds what neither side can tell by itself"""
    )
