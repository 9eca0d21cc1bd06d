"""Connections to RabbitMQ with pika: how long anything may take, and what they are called in its lists."""

from __future__ import annotations

import logging
from typing import Final

import pika

from workers.topology import CONNECT_SECONDS

HEARTBEAT: Final = 30  # seconds; a peer that is silent for two of them is dead
BLOCKED_SECONDS: Final = 30.0  # how long a broker short of disk or memory may hold a publisher

# pika logs bodies of returned messages and a traceback for every refused connection. Bodies are customers'
# data, and what a lost connection means is logged by whoever lost it.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def parameters(url: str, name: str) -> pika.URLParameters:
    """Connection parameters for `url`; `name` is shown by `rabbitmqctl list_connections client_properties`."""
    found = pika.URLParameters(url)
    found.heartbeat = HEARTBEAT
    found.socket_timeout = CONNECT_SECONDS
    found.stack_timeout = CONNECT_SECONDS
    found.blocked_connection_timeout = BLOCKED_SECONDS
    found.connection_attempts = 1
    found.client_properties = {"connection_name": f"algasync {name}"}
    return found


def connect(url: str, name: str) -> pika.BlockingConnection:
    """An open connection; raises `pika.exceptions.AMQPConnectionError` when there is none to be had."""
    return pika.BlockingConnection(parameters(url, name))
