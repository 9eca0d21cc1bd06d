"""Start what a bare machine lacks: a private PostgreSQL and a private RabbitMQ, on loopback.

`python -m deploy.local` is the command; `PostgresqlServer` and `RabbitmqNode` are the parts.
Nothing here touches a system-wide server, its ports, its data or its accounts.
"""

from __future__ import annotations

from deploy.local.package import NotInstalledError
from deploy.local.postgresql import PostgresqlServer
from deploy.local.process import NotRunningError, StartError
from deploy.local.rabbitmq import RabbitmqNode

__all__ = ["NotInstalledError", "NotRunningError", "PostgresqlServer", "RabbitmqNode", "StartError"]
