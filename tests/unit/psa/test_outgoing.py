"""What the operator sets about outgoing calls."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from services.psa.addresses import Outgoing


def test_networks_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has no lists: networks stand side by side, and blanks and a last comma do no harm."""
    monkeypatch.setenv("ALGASYNC_WEBHOOK_NETWORKS", "10.1.0.0/16, fd00::/8,")
    assert Outgoing().networks == [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
