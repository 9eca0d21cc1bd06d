"""A worker that serves lanes until it is killed: `python sender_program.py <settings as JSON>`."""

from __future__ import annotations

import json
import sys
import time

from services.connections.vault import Vault
from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from services.exceptions.notice_mail import MailSettings
from services.psa import lanes
from services.psa.addresses import Outgoing
from services.psa.notifier import Notifier
from services.psa.senders import senders


def main() -> None:
    """Look for lanes that are due and work on them, again and again."""
    given = json.loads(sys.argv[1])
    vault, outgoing, mail = (
        Vault([given["key"]]),
        Outgoing(networks="127.0.0.0/8"),
        MailSettings(**given["mail"]),
    )  # type: ignore[arg-type]  # as in the environment
    with Database(given["database"], Role.FLEET, pool_size=4) as database:
        notifier = Notifier(database, senders(vault, outgoing, mail))
        while True:
            with database.transaction(ALL_TENANTS) as connection:
                due = lanes.due(connection)
            for subscription_id, _ in due:
                notifier.run(subscription_id)
            time.sleep(0.02)  # between two looks, as the dispatcher does


main()
