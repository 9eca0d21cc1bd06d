"""Options that many commands share, and how their values are read."""

from __future__ import annotations

import getpass
import os
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from services.cli.console import USAGE, Told, mode


def _as_json(value: bool) -> bool:
    mode.json = value
    return value


def instant(written: str | None) -> datetime | None:
    """Read an age (30m, 12h, 7d ago) or an ISO date or moment; without a zone it is UTC."""
    if written is None:
        return None
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", written)
    if ago:
        seconds = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}[ago[2]]
        return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * seconds)
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise typer.BadParameter(
            f"{written!r} is no age like 30m, 12h or 7d and no ISO date or instant"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _cursor(written: str | None) -> tuple[datetime, UUID] | None:
    if written is None:
        return None
    moment, _, identity = written.partition("/")
    try:
        return datetime.fromisoformat(moment), UUID(identity)
    except ValueError:
        raise typer.BadParameter("is no `next` of an earlier page") from None


def _actor(written: str | None) -> str:
    if written:
        return written
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):  # an account without a name
        return f"operator:{os.getuid()}"


Json = Annotated[
    bool, typer.Option("--json", callback=_as_json, is_eager=True, help="One JSON object on standard output.")
]
Tenant = Annotated[str | None, typer.Option(envvar="ALGASYNC_TENANT", help="Only this tenant.")]
OneTenant = Annotated[str, typer.Option(envvar="ALGASYNC_TENANT", help="Whose it is.")]
Company = Annotated[
    str | None, typer.Option(help="QuickBooks company: our id, its realm id or its exact name.")
]
Since = Annotated[
    Any, typer.Option(parser=instant, metavar="AGE|DATE", help="Not older than 30m, 12h, 7d or an ISO date.")
]
Before = Annotated[
    Any, typer.Option(parser=instant, metavar="AGE|DATE", help="Older than 30m, 12h, 7d or an ISO date.")
]
Moment = Annotated[
    Any,
    typer.Argument(parser=instant, metavar="AGE|DATE", help="30m, 12h, 7d ago, or an ISO date or moment."),
]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")]
After = Annotated[
    Any, typer.Option(parser=_cursor, metavar="NEXT", help="Go on after the `next` of an earlier page.")
]
Reason = Annotated[str | None, typer.Option(help="Why; it stands in the audit trail.")]
Because = Annotated[str | None, typer.Option(help="Why you do it; it stands in the audit trail.")]
Actor = Annotated[
    str | None,
    typer.Option(envvar="ALGASYNC_ACTOR", callback=_actor, help="Who acts; default: your account's name."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say exactly what would happen, and do nothing.")]
Rate = Annotated[float, typer.Option(min=0, help="How many a second; 0 means as fast as it goes.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before acting.")]


def next_page(after: tuple[datetime, UUID] | None) -> str | None:
    """What `--after` takes to go on."""
    return f"{after[0].isoformat()}/{after[1]}" if after else None


def said(words: str | None, option: str, example: str) -> str:
    """A text that must say something; the error names the option."""
    if words is None or not words.strip():
        raise Told(
            f"say why; it stands in the audit trail. For example: {option} '{example}'",
            code="missing_reason",
            field=option,
            exit_code=USAGE,
        )
    return words.strip()
