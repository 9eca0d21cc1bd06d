"""A process that refreshes one company's token from several threads, for tests that kill it.

`python -m tests.support.refresher <json>`: says that it is ready, waits for a line on standard input so that several
go at once, and prints at its end the tokens it ended with.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tenacity

from services.connections.tokens import Tokens
from services.database import Database, Role
from services.quickbooks.errors import NotSent
from tests.support.intuit import Noted, intuit_of
from tests.support.sandbox import Sandbox


def main(order: dict[str, Any]) -> None:
    """Let `threads` refresh `times` times each, every one rejecting the token it was given last."""
    sandbox = Sandbox(order["api"], order["control"])
    intuit = intuit_of(sandbox, key=order["key"])
    with Database(order["database"], Role.FLEET) as database:
        tokens = Tokens(database, intuit, Noted(), rest=order["rest"])

        # As work does whose call was not sent: it comes again, here for as long as a rest may take.
        @tenacity.retry(
            retry=tenacity.retry_if_exception_type(NotSent),
            stop=tenacity.stop_after_delay(30),
            wait=tenacity.wait_random(0.02, 0.1),
            reraise=True,
        )
        def newer(company: str, token: str) -> str:
            return tokens.refresh(company, token)

        def refresh(_: int) -> str:
            token = tokens.access_token(order["company"])
            for _ in range(order["times"]):
                token = newer(order["company"], token)
            return token

        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        with ThreadPoolExecutor(order["threads"]) as pool:
            ended = list(pool.map(refresh, range(order["threads"])))
    sys.stdout.write(json.dumps(ended) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
