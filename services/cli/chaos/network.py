"""The network of a fleet: every connection that may be stalled or cut goes through a proxy."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from deploy.local.process import free_port
from services.cli.chaos.proxy import Proxy
from services.cli.crew import Crew
from services.connections.application import CALLBACK_PATH

_SENDERS: Final = ("relay", "dispatcher", "collector")


class Network:
    """Proxies before the broker (the workers' and the others'), before QuickBooks, and before the API.

    The processes of `crew` that are started afterwards use them.
    """

    def __init__(self, crew: Crew) -> None:
        intuit = crew.settings["ALGASYNC_QUICKBOOKS_API_URL"]
        port = str(free_port())
        self.workers = Proxy(crew.settings["BROKER_URL"])
        self.senders = Proxy(crew.settings["BROKER_URL"])
        self.quickbooks = Proxy(intuit)
        self.api = Proxy(f"http://127.0.0.1:{port}")
        for role in _SENDERS:
            crew.of_role[role] = {"BROKER_URL": self.senders.url}
        crew.of_role["workers"] = {
            "BROKER_URL": self.workers.url,
            "ALGASYNC_QUICKBOOKS_API_URL": self.quickbooks.url,
        }
        crew.of_role["api"] = {
            "ALGASYNC_API_PORT": port,
            "ALGASYNC_PUBLIC_URL": self.api.url,
            "ALGASYNC_QUICKBOOKS_AUTHORIZE_URL": f"{intuit}/connect/oauth2",
        }

    @property
    def amqp(self) -> tuple[Proxy, Proxy]:
        """Everybody's way to the broker."""
        return self.workers, self.senders

    @property
    def http(self) -> tuple[Proxy, Proxy]:
        """The workers' way to QuickBooks, and billing's to the API."""
        return self.quickbooks, self.api

    @property
    def callback(self) -> str:
        """Where Intuit sends an admin's browser back to."""
        return self.api.url + CALLBACK_PATH

    def close(self) -> None:
        """End everything."""
        for proxy in (*self.amqp, *self.http):
            proxy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
