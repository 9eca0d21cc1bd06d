"""How long things may take."""

from __future__ import annotations

import pytest

from services.configuration import Configuration
from workers.process import CONSUMER_TIMEOUT, time_limit


def test_every_limit_ends_before_the_one_that_could_only_abandon_it() -> None:
    """Socket, lease, actor, broker: with the default settings, in this order."""
    settings = Configuration()
    limit = time_limit(settings.call_seconds, settings.lease_seconds)
    assert settings.call_seconds < settings.lease_seconds < limit < CONSUMER_TIMEOUT


@pytest.mark.parametrize(("call", "lease"), [(60, 60), (61, 60), (30, 900), (30, 2000), (0, 60)])
def test_limits_out_of_order_are_refused(call: float, lease: float) -> None:
    """A process does not start with settings under which work could be done twice."""
    with pytest.raises(ValueError, match="do not fit"):
        time_limit(call, lease)
