"""A worker that serves lanes until it is killed: `python -m tests.integration.deliveries.sender_program JSON`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from services.connections.vault import Vault
from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from services.exceptions.notice_mail import MailSettings
from services.psa import lanes
from services.psa.addresses import Outgoing
from services.psa.notifier import Notifier
from services.psa.senders import senders
from tests.support import eventually

FOR_EVER: Final = 86_400.0  # seconds; the test kills it long before


def look(database: Database) -> Sequence[tuple[UUID, str]]:
    """Lanes that are due now."""
    with database.transaction(ALL_TENANTS) as connection:
        return lanes.due(connection)


def main() -> None:
    """Look for lanes that are due and work on them, again and again."""
    given = json.loads(sys.argv[1])
    vault, mail = Vault([given["key"]]), MailSettings(**given["mail"])
    outgoing = Outgoing.model_validate({"networks": "127.0.0.0/8"})  # text, as in the environment
    with Database(given["database"], Role.FLEET, pool_size=4) as database:
        notifier = Notifier(database, senders(vault, outgoing, mail))
        while True:
            for subscription_id, _ in eventually(lambda: look(database), FOR_EVER):
                notifier.run(subscription_id)


main()
