"""Notices: from what happened to a mail that a real server took, once for each cause."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from services.exceptions import desk as exceptions
from services.exceptions import notice_causes, notices
from services.exceptions.attention import CONNECTION_EXPIRED
from services.exceptions.notice_mail import MailSettings, NotMailed, message, send
from services.exceptions.notices import Notice
from services.ledger.ports import Problem
from services.mapping import settings
from services.psa.troubles import DISABLED
from tests.integration.deliveries.conftest import TENANT, Desk
from tests.integration.deliveries.mail_server import MailServer, mail_server
from tests.integration.deliveries.test_transport import certificate
from tests.support.receiver import Receiver


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server."""
    with mail_server() as running:
        yield running


@pytest.fixture
def mail(server: MailServer) -> MailSettings:
    """The operator's settings for it."""
    return MailSettings(**server.settings)


@pytest.fixture(autouse=True)
def recipients(fleet: Database) -> list[str]:
    """The tenant's people."""
    people = ["a@psa.example", "b@psa.example"]
    with fleet.transaction(TENANT) as connection:
        settings.put(connection, TENANT, settings.TENANT, "notice_recipients", people, actor="admin")
    return people


def gather(fleet: Database) -> None:
    """What the scheduler does by the clock."""
    with fleet.transaction(ALL_TENANTS) as connection:
        notice_causes.gather(connection)


def told(fleet: Database) -> list[Notice]:
    """The tenant's notices, oldest first."""
    with fleet.transaction(TENANT) as connection:
        return notices.page(connection, TENANT, limit=200).notices[::-1]


def trouble(fleet: Database, subject: str = "inv-1", type_: str = "accounting_sync_export_error") -> UUID:
    """Something needs a person."""
    problem = Problem(
        type_, "x", f"x:{subject}", f"Invoice {subject} is stuck", "It broke.", "Because.", "Mend it."
    )
    kind = "connection" if type_ == CONNECTION_EXPIRED else "invoice"
    with fleet.transaction(TENANT) as connection:
        return exceptions.report(connection, exceptions.Subject(TENANT, kind, subject), problem)


def settled(fleet: Database, subject: str, type_: str) -> None:
    """Its cause is gone."""
    with fleet.transaction(TENANT) as connection:
        assert exceptions.resolve(
            connection, exceptions.Subject(TENANT, "connection", subject), type_, "Reconnected."
        )


def pass_time(fleet: Database, span: timedelta) -> None:
    """Let time go by for exceptions and notices."""
    with Database(fleet.url, Role.OWNER) as owner, owner.transaction(TENANT) as connection:
        for table in ("exception", "notice"):
            connection.execute(text(f"UPDATE {table} SET created_at = created_at - :span"), {"span": span})


def test_a_lost_connection_is_told_at_once_and_once(desk: Desk, server: MailServer, fleet: Database) -> None:
    """To every recipient, under the title that users know; repeats of the same trouble tell nothing new."""
    company = str(uuid4())
    trouble(fleet, company, CONNECTION_EXPIRED)
    for _ in range(3):
        gather(fleet)
        trouble(fleet, company, CONNECTION_EXPIRED)
        desk.work()
    assert sorted(server.recipients) == [["a@psa.example"], ["b@psa.example"]]
    assert {mail["Subject"] for mail in server.got} == {"Accounting connection needs attention"}
    assert "Mend it." in server.got[0].get_content()
    assert server.got[0]["From"] == "algasync <books@psa.example>"
    assert server.got[0]["Auto-Submitted"] == "auto-generated"
    assert len({mail["Message-ID"] for mail in server.got}) == 2
    settled(fleet, company, CONNECTION_EXPIRED)
    trouble(fleet, company, CONNECTION_EXPIRED)
    gather(fleet)
    desk.work()
    assert len(server.got) == 4


def test_a_digest_a_cycle_and_only_of_news(fleet: Database) -> None:
    """What happened together is told together; then nothing until something new appears and the cycle is over."""
    for number in range(25):
        trouble(fleet, f"inv-{number}")
    gather(fleet)
    assert told(fleet) == []  # it may still go on
    pass_time(fleet, timedelta(minutes=2))
    gather(fleet)
    gather(fleet)
    (digest,) = told(fleet)
    assert (digest.kind, digest.title) == ("digest", "25 new accounting sync exceptions")
    assert digest.details == {"count": 25, "types": {"accounting_sync_export_error": 25}}
    assert digest.message.count("is stuck") == notice_causes.LISTED
    assert "and 5 more" in digest.message
    pass_time(fleet, timedelta(hours=1))
    gather(fleet)
    assert len(told(fleet)) == 1
    trouble(fleet, "inv-new")
    pass_time(fleet, timedelta(minutes=2))
    gather(fleet)
    assert [one.title for one in told(fleet)][1:] == ["1 new accounting sync exception"]
    trouble(fleet, "inv-newer")
    pass_time(fleet, timedelta(minutes=2))
    gather(fleet)
    assert len(told(fleet)) == 2  # the cycle of a quarter of an hour is not over
    pass_time(fleet, timedelta(minutes=15))
    gather(fleet)
    assert len(told(fleet)) == 3


def test_what_is_mended_meanwhile_is_no_news(fleet: Database) -> None:
    """An exception that closed before its digest is not told of."""
    company = str(uuid4())
    trouble(fleet, company, "accounting_sync_customer_unlinked")
    with fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE exception SET state = 'resolved', closed_at = clock_timestamp()"))
    pass_time(fleet, timedelta(minutes=2))
    gather(fleet)
    assert told(fleet) == []


def test_tokens_are_told_of_by_band(fleet: Database) -> None:
    """A notice for each band that the connection's upkeep recorded, once, and none for a token that has ended."""
    company = uuid4()
    rows = [(14, "13 days"), (7, "6 days"), (2, "-1 day")]
    with Database(fleet.url, Role.OWNER) as owner, owner.transaction(TENANT) as connection:
        connection.execute(
            text(
                """INSERT INTO company (company_id, tenant_id, environment, realm_id, name, state, connected_by)
                   VALUES (:company, :tenant, 'sandbox', '9341', 'Northwind', 'active', 'admin')"""
            ),
            {"company": company, "tenant": TENANT},
        )
        for days, left in rows:
            connection.execute(
                text(
                    """INSERT INTO token_notice (company_id, tenant_id, ends_at, days, hard)
                       VALUES (:company, :tenant, clock_timestamp() + CAST(:left AS interval), :days, false)"""
                ),
                {"company": company, "tenant": TENANT, "left": left, "days": days},
            )
    gather(fleet)
    gather(fleet)
    found = told(fleet)
    assert sorted(one.details["days"] for one in found) == [7, 14]
    assert all(
        one.title.startswith("Accounting connection needs attention: Northwind ends on") for one in found
    )
    assert all(one.company_id == company for one in found)


def test_a_backlog_is_told_once_a_day(fleet: Database) -> None:
    """When the oldest work that nothing holds back is older than the tenant allows."""
    with Database(fleet.url, Role.OWNER) as owner, owner.transaction(TENANT) as connection:
        connection.execute(
            text(
                """INSERT INTO operation (operation_id, tenant_id, company_id, kind, queue, lane, document_kind,
                                          document_id, revision, repair, state, created_at)
                   SELECT gen_random_uuid(), :tenant, gen_random_uuid(), 'export_invoice', 'export', 1, 'invoice',
                          'inv-' || n, 1, 0, state, clock_timestamp() - interval '13 hours'
                     FROM unnest(ARRAY['queued', 'scheduled', 'failed']) WITH ORDINALITY AS s (state, n)"""
            ),
            {"tenant": TENANT},
        )

    def look() -> int:
        with fleet.transaction(ALL_TENANTS) as connection:
            return notice_causes.gather_backlogs(connection)

    assert look() == 0  # a day is allowed unless set otherwise
    with fleet.transaction(TENANT) as connection:
        settings.put(connection, TENANT, settings.TENANT, "notice_backlog_hours", 12, actor="admin")
    assert (look(), look()) == (1, 0)
    (notice,) = told(fleet)
    assert notice.title == "Accounting sync is behind: the oldest item has waited for 13 hours"
    assert "2 items" in notice.message


def test_a_notice_and_what_it_owes_are_one_transaction(
    desk: Desk, server: MailServer, fleet: Database
) -> None:
    """Rolled back with its cause, nothing is left of it; the second time it comes whole."""
    with fleet.engine.connect() as connection:
        connection.execute(text("SELECT set_config('algasync.tenant', :tenant, true)"), {"tenant": TENANT})
        assert notices.write(connection, TENANT, "backlog", "k", "Title", "Text") is not None
        connection.rollback()
    assert (told(fleet), desk.work()) == ([], 0)
    with fleet.transaction(TENANT) as connection:
        assert notices.write(connection, TENANT, "backlog", "k", "Title", "Text") is not None
        assert notices.write(connection, TENANT, "backlog", "k", "Title", "Text") is None
    desk.work()
    assert len(server.got) == 2


def test_a_webhook_gets_notices_when_it_asks_for_them(
    desk: Desk, endpoint: Receiver, fleet: Database
) -> None:
    """Signed like an event; one that asked for all accounting events gets none."""
    _, secret = desk.webhook(endpoint.url + "/notices", "notice.v1", name="notices")
    desk.webhook(endpoint.url + "/events", "*", name="events")
    with fleet.transaction(TENANT) as connection:
        notices.write(connection, TENANT, "token", "k", "Ends soon", "Reconnect", details={"days": 7})
    desk.work()
    (post,) = endpoint.got
    assert (post.path, post.is_signed_with(secret)) == ("/notices", True)
    assert post.event["type"] == "com.algapsa.accounting.notice.v1"
    assert post.event["data"]["title"] == "Ends soon"
    assert post.event["data"]["details"] == {"days": 7}


def test_one_bad_recipient_does_not_keep_the_others_waiting(
    desk: Desk, server: MailServer, fleet: Database
) -> None:
    """The refused one is tried again by itself."""
    server.refused["a@psa.example"] = "550 no such user"
    with fleet.transaction(TENANT) as connection:
        notices.write(connection, TENANT, "token", "k", "Title", "Text")
    desk.work()
    assert server.recipients == [["b@psa.example"]]
    (notice,) = told(fleet)
    states = {one.recipient: (one.state, one.error) for one in notice.told}
    assert states["b@psa.example"] == ("delivered", None)
    assert states["a@psa.example"] == ("pending", "the mail server refuses this recipient with 550")
    server.refused.clear()
    desk.pass_time(timedelta(minutes=2))
    desk.work()
    assert server.recipients[-1] == ["a@psa.example"]


def test_a_mail_server_that_fails_for_a_day_is_an_exception_that_closes_itself(
    desk: Desk, server: MailServer, fleet: Database
) -> None:
    """Mail is never disabled, for nobody would hear of it: it is tried on, and a success closes the exception."""
    server.answer = "451 try later"
    with fleet.transaction(TENANT) as connection:
        notices.write(connection, TENANT, "token", "k", "Title", "Text")
    for _ in range(16):
        desk.work()
        desk.pass_time(timedelta(hours=2))
    assert [one.state for one in desk.exceptions(DISABLED)] == ["open"]
    server.answer = "250 OK"
    desk.pass_time(timedelta(hours=13))
    desk.work()
    assert [one.state for one in desk.exceptions(DISABLED)] == ["resolved"]
    assert len(server.got) == 2


def test_without_recipients_notices_are_listed_and_not_mailed(desk: Desk, fleet: Database) -> None:
    """And recipients set later are not flooded with what is long past."""
    with fleet.transaction(TENANT) as connection:
        settings.reset(connection, TENANT, settings.TENANT, "notice_recipients", actor="admin")
        notices.write(connection, TENANT, "token", "k", "Title", "Text")
        settings.put(
            connection, TENANT, settings.TENANT, "notice_recipients", ["c@psa.example"], actor="admin"
        )
    assert desk.work() == 0
    assert [one.told for one in told(fleet)] == [[]]


def test_old_notices_are_forgotten_once_their_exceptions_are_closed(fleet: Database) -> None:
    """What is still open stays told, or it would be told anew."""
    company = str(uuid4())
    trouble(fleet, company, CONNECTION_EXPIRED)
    gather(fleet)
    pass_time(fleet, timedelta(days=500))

    def forget() -> int:
        with fleet.transaction(ALL_TENANTS) as connection:
            return notices.forget(connection)

    assert forget() == 0
    settled(fleet, company, CONNECTION_EXPIRED)
    assert forget() == 1


NOTICE: dict[str, Any] = {"title": "Ends soon\r\nBcc: evil@example.com", "message": "Größe ✓"}


def mailed(options: dict[str, Any]) -> str:
    """Send one mail with these settings."""
    from datetime import UTC, datetime

    made = MailSettings(**options)
    return send(made, message(made, uuid4(), "a@psa.example", NOTICE, datetime(2026, 3, 31, tzinfo=UTC)))


def test_a_title_is_one_line_whatever_it_holds(server: MailServer) -> None:
    """Names come from people and QuickBooks: no header of their own slips in."""
    mailed(server.settings)
    assert server.got[0]["Subject"] == "Ends soon Bcc: evil@example.com"
    assert server.got[0]["Bcc"] is None
    assert server.got[0].get_content().strip() == "Größe ✓"


def test_starttls_checks_the_certificate_before_the_password(tmp_path: Any) -> None:
    """A server that is not who it says it is gets neither login nor mail."""
    path = certificate(tmp_path, "localhost")
    with mail_server(certificate=path, login=("books", "fake-password")) as server:
        good = server.settings | {
            "host": "localhost",
            "security": "starttls",
            "username": "books",
            "password": "fake-password",
            "ca_file": str(path),
            "seconds": 2,
        }
        assert mailed(good) == "taken by the mail server"
        for change in ({"ca_file": ""}, {"password": "wrong"}, {"security": "tls"}):
            with pytest.raises(NotMailed):
                mailed(good | change)
        with pytest.raises(ValueError, match="in clear"):
            MailSettings(**{**good, "security": "none"})
    assert len(server.got) == 1


def test_a_taken_mail_counts_whatever_comes_of_the_goodbye(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that breaks at QUIT must not make a second mail."""

    def broken(_: smtplib.SMTP) -> None:
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr(smtplib.SMTP, "quit", broken)
    assert mailed(server.settings) == "taken by the mail server"
