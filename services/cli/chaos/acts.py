"""What is done to a fleet beside killing it, and when: by quota, in an order that is the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import StrEnum
from itertools import cycle
from typing import Final

from services.cli.chaos.killer import Blow

_KILLS_PER_ROUND: Final = 40  # each act happens once for so many kills, and once at least


class Act(StrEnum):
    """One trouble that lasts for a while. Many a kill falls into the middle of one."""

    HTTP_CUT = "http_cut"  # connections to QuickBooks and to the API end without a word
    HTTP_STALL = (
        "http_stall"  # what is under way to QuickBooks and to the API arrives after everybody's patience
    )
    AMQP_STALL = "amqp_stall"  # no byte passes between the fleet and the broker
    QUEUE_FULL = "queue_full"  # intake and export refuse what is published, nobody consumes
    POSTGRESQL_FULL = "postgresql_full"  # too many clients already
    BROKER_FULL = "broker_full"  # the connection limit is reached
    LONG_TRANSACTION = "long_transaction"  # rows stay locked, a snapshot old, events are committed late
    CLOCK_SKEW = "clock_skew"  # a process goes on under a wrong clock, for the rest of the run
    ACCESS_EXPIRED = "access_expired"  # QuickBooks refuses every access token; they are renewed
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a company's authorization ends, and a person gives it anew


SPARE: Final = {Act.QUEUE_FULL: 8, Act.POSTGRESQL_FULL: 0, Act.BROKER_FULL: 0, Act.CLOCK_SKEW: 0}
"""Invoices that an act may bill to be felt; three unless named here."""


def budget(act: Act) -> int:
    """How many invoices an act may bill, so that the fleet has work that meets it."""
    return SPARE.get(act, 3)


def deal(blows: Sequence[Blow], chance: random.Random) -> list[list[Act]]:
    """The acts that come with each blow, the last of which the blow falls into where it can.

    They are dealt to blows that strike anywhere first, because a worker at a boundary needs a fleet that works.
    """
    if not blows:
        return []
    acts = [act for act in Act for _ in range(max(1, len(blows) // _KILLS_PER_ROUND))]
    chance.shuffle(acts)
    places = [place for place, blow in enumerate(blows) if blow.boundary is None] or list(range(len(blows)))
    chance.shuffle(places)
    dealt: list[list[Act]] = [[] for _ in blows]
    for act, place in zip(acts, cycle(places), strict=False):
        dealt[place].append(act)
    return dealt


def falls_into(blow: Blow, act: Act) -> bool:
    """Whether a blow can be struck while an act lasts."""
    if blow.boundary is not None or blow.wipe:  # both need servers that answer
        return False
    return not (act is Act.BROKER_FULL and blow.role == "broker")  # it could not be seen to come up
