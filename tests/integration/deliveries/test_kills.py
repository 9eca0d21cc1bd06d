"""SIGKILL between sending and writing it down: sent again under the same id, nothing lost, no second row."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from services.database.engine import ALL_TENANTS
from services.exceptions import notices
from services.mapping import settings
from tests.integration.deliveries.conftest import TENANT, Desk
from tests.integration.deliveries.mail_server import MailServer, mail_server
from tests.support import eventually
from tests.support.receiver import Answer, Post, Receiver
from tests.support.telling import emit, publish, synced, tell

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "tests.integration.deliveries.sender_program"

Start = Callable[..., int]


@pytest.fixture
def start(desk: Desk, key: str) -> Iterator[Start]:
    """A function that starts a worker and returns its process id."""
    running: list[subprocess.Popen[bytes]] = []

    def go(mail: Mapping[str, Any] | None = None) -> int:
        given = {"database": desk.fleet.url, "key": key, "mail": dict(mail or {})}
        process = subprocess.Popen([sys.executable, "-m", PROGRAM, json.dumps(given)], cwd=ROOT)
        running.append(process)
        return process.pid

    yield go
    for process in running:
        process.kill()
        process.wait(10)


def test_a_webhook_sent_and_not_written_down_is_sent_again(
    desk: Desk, endpoint: Receiver, start: Start
) -> None:
    """The receiver has it, the worker dies before it can record that: the next one sends it under the same ids."""
    subscription_id, secret = desk.webhook(endpoint.url)
    workers: list[int] = []

    def murder(_: Post) -> Answer:
        if len(endpoint.got) == 3:
            os.kill(workers[0], signal.SIGKILL)
        return 200

    endpoint.answer = murder
    events = tell(desk.fleet, TENANT, *(f"inv-{number}" for number in range(6)))
    workers.append(start())
    endpoint.wait(3)
    twice = endpoint.got[2]
    desk.pass_time(timedelta(minutes=2))  # the dead worker's lease ends
    workers.append(start())
    endpoint.wait(7)
    eventually(lambda: desk.subscription(subscription_id).pending == 0)
    assert sorted(set(endpoint.ids())) == sorted(events)
    repeated = [post for post in endpoint.got if post.event_id == twice.event_id]
    assert [post.delivery_id for post in repeated] == [twice.delivery_id] * 2
    assert all(post.is_signed_with(secret) for post in repeated)
    assert len(desk.log(subscription_id)) == 6


def test_many_kills_lose_no_event_and_double_no_row(desk: Desk, endpoint: Receiver, start: Start) -> None:
    """A worker is killed at every tenth request, whatever it is doing; each document's events arrive in order."""
    subscription_id, _ = desk.webhook(endpoint.url, "document.synced.v1")
    workers: list[int] = []
    kills = set(range(10, 41, 10))

    def murder(_: Post) -> Answer:
        if len(endpoint.got) in kills:
            os.kill(workers[-1], signal.SIGKILL)
            return None
        return 200

    endpoint.answer = murder
    documents = [f"inv-{number % 8}" for number in range(40)]
    events = [
        str(emit(desk.fleet, TENANT, "document.synced.v1", document, synced(document)))
        for document in documents
    ]
    publish(desk.fleet, *map(UUID, events))
    for killed in (*sorted(kills), None):
        workers.append(start())
        if killed is not None:
            endpoint.wait(killed, 30)
            eventually(lambda: not _lives(workers[-1]), what="the kill")
            desk.pass_time(timedelta(hours=13))  # leases, rests and waits are over
    eventually(lambda: desk.subscription(subscription_id).pending == 0, 30)
    assert set(endpoint.ids()) == set(events)
    assert len(desk.log(subscription_id)) == len(events)
    first_seen = list(dict.fromkeys(endpoint.ids()))
    for document in set(documents):
        own = [event for event, of in zip(events, documents, strict=True) if of == document]
        assert [event for event in first_seen if event in own] == own


def test_a_mail_taken_and_not_written_down_keeps_its_message_id(desk: Desk, start: Start) -> None:
    """The mail server took it, the worker dies: the repetition has the same Message-ID, so it is shown once."""
    workers: list[int] = []

    def murder(server: MailServer) -> None:
        if len(server.got) == 1:
            os.kill(workers[0], signal.SIGKILL)

    with mail_server(murder) as server:
        with desk.fleet.transaction(TENANT) as connection:
            settings.put(
                connection, TENANT, settings.TENANT, "notice_recipients", ["a@psa.example"], actor="admin"
            )
            notices.write(connection, TENANT, "connection", "k1", "Needs attention", "Reconnect")
        workers.append(start(server.settings))
        eventually(lambda: len(server.got) == 1)
        desk.pass_time(timedelta(minutes=2))
        workers.append(start(server.settings))
        eventually(lambda: len(server.got) == 2)
        eventually(lambda: _states(desk) == ["delivered"])
        assert len({mail["Message-ID"] for mail in server.got}) == 1


def _lives(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and ") Z" not in state.read_text()


def _states(desk: Desk) -> list[str]:
    with desk.fleet.transaction(ALL_TENANTS) as connection:
        return list(connection.execute(text("SELECT state FROM delivery")).scalars())
