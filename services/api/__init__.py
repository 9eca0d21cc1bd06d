"""The HTTP API: thin routers over the services, one a capability. It holds no rules of its own."""

from __future__ import annotations

from services.api.app import create_app
from services.api.context import Context

__all__ = ["Context", "create_app"]
