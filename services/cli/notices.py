"""`algasync notices`: what a tenant's people were told, and whether it reached them."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli import console
from services.cli.options import After, Json, Limit, OneTenant, next_page

app = typer.Typer(no_args_is_help=True, help="Notices by mail and webhook.")


@app.command("list", epilog="Example: algasync notices list --tenant acme")
def list_(
    tenant: OneTenant,
    kind: Annotated[
        str | None,
        typer.Option(help="connection, token, digest, backlog, reconciliation or deliveries."),
    ] = None,
    limit: Limit = 50,
    after: After = None,
    json: Json = False,
) -> None:
    """List notices, newest first, each with where it went and how far it is."""
    from services.cli import wiring
    from services.exceptions import notices

    with wiring.transaction(tenant) as connection:
        found = notices.page(connection, tenant, kind=kind, after=after, limit=limit)
    if json:
        console.result({"notices": found.notices, "next": next_page(found.after)})
        return
    console.table(
        ("AT", "KIND", "WHAT", "TOLD"),
        (
            (
                one.created_at,
                one.kind,
                one.title,
                ", ".join(f"{told.recipient}: {told.state}" for told in one.told) or "nobody is set",
            )
            for one in found.notices
        ),
    )


@app.command("test", epilog="Example: algasync notices test --to me@psa.example")
def send_test(
    to: Annotated[str, typer.Option(help="To whom; nothing is written down.")], json: Json = False
) -> None:
    """Send a mail now, from this machine, with the ALGASYNC_SMTP_ settings. Exit code 1 when it is not taken."""
    from datetime import UTC, datetime
    from uuid import uuid4

    from services.exceptions import notice_mail
    from services.exceptions.notice_mail import NotMailed

    settings = notice_mail.mail_settings()
    words = {"title": "algasync: a test of the mail settings", "message": "Notices can be mailed."}
    try:
        mail = notice_mail.message(settings, uuid4(), to, words, datetime.now(UTC))
        said = notice_mail.send(settings, mail)
    except NotMailed as error:
        raise console.Told(str(error), code="not_mailed", field="ALGASYNC_SMTP_HOST") from error
    if json:
        console.result({"to": to, "said": said})
    else:
        console.say(f"{said}.")
