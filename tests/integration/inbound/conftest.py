"""Fixtures of the inbound tests."""

from __future__ import annotations

from tests.support.api import served
from tests.support.inbound import bench

__all__ = ["bench", "served"]
