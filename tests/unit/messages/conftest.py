"""What the tests of messages share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from messages import samples

BILLING = "com.algapsa.billing."

Sample = Callable[..., dict[str, Any]]


@pytest.fixture
def sample() -> Sample:
    """Return the data of a billing sample, changed at will: `sample("invoice.finalized.v1", total=5)`."""

    def make(name: str, **changes: Any) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(samples.read(BILLING + name))["data"]
        return data | changes

    return make
