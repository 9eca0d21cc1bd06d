"""A process that reads, accepts and links, for a test that kills it.

`python -m tests.integration.onboarding.walker <json>`: prints a line a page or batch, and "finished" at its end.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from uuid import UUID

from services.database import Database, Role
from services.onboarding import customers, history, reading, runs
from tests.integration.onboarding.conftest import nothing_released
from tests.support.exporting import TENANT, Straight
from tests.support.sandbox import Sandbox


def main(order: dict[str, Any]) -> None:
    """Take the company's run up and go to its end, ten rows a page and batch."""
    reading_size = 10
    customers.BATCH = history.BATCH = 10
    clients = Straight(Sandbox(order["api"], order["control"]), order["token"])

    def say(*_: object) -> None:
        sys.stderr.write("step\n")
        sys.stderr.flush()

    with Database(order["database"], Role.FLEET) as database:
        with database.transaction(TENANT) as connection:
            run = runs.start(connection, TENANT, UUID(order["company"]), "walker")
        reading.read(database, clients, run, progress=say, size=reading_size)
        customers.accept_exact(database, run, actor="walker", on_mapping_set=nothing_released, progress=say)
        history.link_confident(database, run, actor="walker", progress=say)
    sys.stderr.write("finished\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
