"""Servers that take no more connections: everything is taken already, or the limit is at nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from deploy.local import RabbitmqNode
from deploy.local.process import wait_until
from services.cli.chaos.proxy import Proxy

_NAME: Final = "a crowd"
_OUST: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name LIKE 'algasync%%' AND backend_type = 'client backend'
"""


@contextmanager
def postgresql_full(database_url: str) -> Iterator[int]:
    """Take every connection that PostgreSQL gives, those of the fleet included, until the block ends.

    `database_url` is a superuser's, whom the server keeps its last places for. Yields how often we were refused.
    """
    taken: list[psycopg.Connection[Any]] = []
    try:
        refused = _fill(taken, database_url)
        with contextlib.suppress(psycopg.Error):  # the server may be killed at any time
            taken[0].execute(_OUST)
        refused += _fill(taken, database_url)
        yield refused
    finally:
        for one in taken:
            one.close()
        wait_until(lambda: _answers(database_url), 30)  # places are free only when their processes have ended


def _answers(database_url: str) -> bool:
    try:
        psycopg.connect(database_url, application_name=_NAME, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _fill(taken: list[psycopg.Connection[Any]], database_url: str) -> int:
    """Connect until refused; returns how often that was."""
    while True:
        try:
            taken.append(
                psycopg.connect(database_url, autocommit=True, application_name=_NAME, connect_timeout=5)
            )
        except psycopg.OperationalError:
            return 1


@contextmanager
def broker_full(node: RabbitmqNode, *ways: Proxy) -> Iterator[None]:
    """Let RabbitMQ refuse every connection until the block ends, and cut those that came these ways."""
    node.control("set_vhost_limits", '{"max-connections": 0}')
    try:
        for way in ways:
            way.cut()
        yield
    finally:
        node.control("clear_vhost_limits")


@contextmanager
def queues_full(node: RabbitmqNode, *queues: str) -> Iterator[None]:
    """Let queues of RabbitMQ refuse what is published as soon as a message lies in them, until the block ends.

    They are declared with `reject-publish`; a policy lowers their length.
    https://www.rabbitmq.com/docs/maxlength
    """
    node.control(
        *("set_policy", _NAME, rf"^({'|'.join(queues)})\.v1$", '{"max-length": 1}'), "--apply-to", "queues"
    )
    try:
        yield
    finally:
        node.control("clear_policy", _NAME)
