"""Fixtures of the tests of the PSA's port."""

from __future__ import annotations

from tests.support.api import served
from tests.support.inbound import bench

__all__ = ["bench", "served"]
