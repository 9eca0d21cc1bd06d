"""The bad day: rules that delay, refuse, cut or hang requests, for chosen companies, paths and operations."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal[
    "latency",
    "throttle",
    "server_error",
    "fault",
    "unauthorized",
    "forbidden",
    "company_status",
    "cut_before",
    "cut_after",
    "cut_within",
    "hang_before",
    "hang_after",
    "lose",  # webhooks: the notice never leaves
    "double",  # webhooks: the notice is sent twice
    "garble",  # webhooks: the notice cannot be read
]


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a request is about; the entity may also be `oauth`, `query`, `cdc`, `batch` or `webhook`."""

    realm: str
    method: str
    entity: str
    operation: str
    path: str


@dataclass(slots=True)
class Trouble:
    """One rule. Empty conditions match everything; `times` 0 means for ever."""

    kind: Kind
    realm: str = ""
    method: str = ""
    entity: str = ""
    operation: str = ""
    path: str = ""  # a part of the path
    skip: int = 0  # let the first N matching requests pass
    times: int = 0
    probability: float = 1.0
    seconds: float = 0.0  # latency; hang (0: until the client leaves)
    jitter_seconds: float = 0.0
    status: int = 0  # server_error (default 503), fault (default 400; 200 is possible)
    format: Literal["", "json", "xml"] = (
        ""  # of throttle, unauthorized, forbidden; empty: the company's switch
    )
    retry_after: int = 0
    code: str = "10000"
    message: str = "An application error has occurred while processing your request"
    detail: str = "System Failure Error: injected by the sandbox"
    fault_type: str = "SystemFault"
    id: str = ""
    seen: int = field(default=0)
    hits: int = field(default=0)

    def matches(self, occasion: Occasion) -> bool:
        """Whether the rule is about this request."""
        return (
            self.realm in ("", occasion.realm)
            and self.method in ("", occasion.method)
            and self.entity.lower() in ("", occasion.entity.lower())
            and self.operation in ("", occasion.operation)
            and self.path in occasion.path
        )

    def as_dict(self) -> dict[str, Any]:
        """All fields, the counters `seen` (matched) and `hits` (fired) included."""
        return asdict(self)


class Troubles:
    """The rules in force."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - chance in a test, repeatable by seed
        self._count = 0
        self.rules: list[Trouble] = []

    def add(self, trouble: Trouble) -> Trouble:
        """Put a rule in force and name it."""
        self._count += 1
        trouble.id = str(self._count)
        self.rules.append(trouble)
        return trouble

    def remove(self, key: str) -> bool:
        """Lift a rule; False when there is none of that id."""
        before = len(self.rules)
        self.rules = [rule for rule in self.rules if rule.id != key]
        return len(self.rules) < before

    def firing(self, occasion: Occasion) -> list[Trouble]:
        """The rules that fire for this request, in the order they were made; spent rules fire no more."""
        fired = []
        for rule in self.rules:
            if not rule.matches(occasion) or (rule.times and rule.hits >= rule.times):
                continue
            rule.seen += 1
            if rule.seen <= rule.skip or self._random.random() >= rule.probability:
                continue
            rule.hits += 1
            fired.append(rule)
        return fired

    def pause(self, trouble: Trouble) -> float:
        """How long a latency rule delays this request."""
        return trouble.seconds + self._random.random() * trouble.jitter_seconds
