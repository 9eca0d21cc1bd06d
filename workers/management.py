"""What only RabbitMQ's management API tells: policies that change our queues, and bindings.

Used when BROKER_MANAGEMENT_URL is set; nothing of the fleet needs it.
https://www.rabbitmq.com/docs/management#http-api
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import requests

from workers.topology import Binding, QueueName

_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Policy:
    """A key of a policy in force on one of our queues that breaks a promise."""

    queue: str
    name: str  # of the policy
    key: str  # "message-ttl"
    value: str


class Management:
    """The HTTP API of the broker at `url` (`http://user:password@host:15672`), for one virtual host."""

    def __init__(self, url: str, vhost: str) -> None:
        self._url = url.rstrip("/")
        self._vhost = quote(vhost, safe="")

    def unbound(self, bindings: Sequence[Binding]) -> list[Binding]:
        """Bindings that do not exist. Raises `requests.RequestException`."""
        existing = {
            (found["source"], found["destination"], found["routing_key"])
            for found in self._get(f"bindings/{self._vhost}")
        }
        return [
            binding
            for binding in bindings
            if (binding.exchange.name, binding.name, binding.routing_key) not in existing
        ]

    def harmful_policies(self, bindings: Sequence[Binding]) -> list[Policy]:
        """What user and operator policies do to our queues against us. Raises `requests.RequestException`."""
        return [policy for binding in bindings for policy in self._harmful(binding)]

    def _harmful(self, binding: Binding) -> Iterable[Policy]:
        queue = self._get(f"queues/{self._vhost}/{quote(binding.name, safe='')}")
        name = " and ".join(filter(None, (queue.get("policy"), queue.get("operator_policy"))))
        for key, value in (queue.get("effective_policy_definition") or {}).items():
            if _harms(binding, key, value):
                yield Policy(binding.name, name, key, str(value))

    def _get(self, path: str) -> Any:
        answer = requests.get(f"{self._url}/api/{path}", timeout=_SECONDS)
        answer.raise_for_status()
        return answer.json()


def _harms(binding: Binding, key: str, value: Any) -> bool:
    """Whether a policy's key matters: arguments win, but of two limits the smaller one holds."""
    if key in {"message-ttl", "expires", "max-length"}:
        return True
    if key in {"max-length-bytes", "delivery-limit"}:
        wanted = binding.arguments.get(f"x-{key}", -1)
        unlimited = binding.queue is QueueName.DEAD and key == "delivery-limit" and value == -1
        return not unlimited and (wanted == -1 or value < wanted)
    return False
