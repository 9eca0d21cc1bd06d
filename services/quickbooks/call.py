"""A call to QuickBooks as a thing that can be stored, and made again byte for byte.

The ledger writes a call down before it is made; after a crash the very same bytes go out again under the same
request id, and QuickBooks answers what it answered the first time instead of making a second document.
https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features#request-id
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import quote, urlencode

Method = Literal["GET", "POST"]
Operation = Literal[
    "create", "update", "void", "delete", "read", "query", "count", "changes", "batch", "pdf_link"
]

WRITES: frozenset[Operation] = frozenset({"create", "update", "void", "delete"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call, complete but for company, environment and token. Built by `calls`, made by `Client.execute`.

    `path` follows `/v3/company/{realm}/` and is percent-encoded; `params` are in the order they are sent,
    minorversion and requestid among them; `body` is the exact text, "" for none; `reads` is how many metered
    reads it costs at most.
    """

    method: Method
    entity: str
    operation: Operation
    path: str
    params: tuple[tuple[str, str], ...]
    body: str = ""
    requestid: str = ""
    reads: int = 0

    @property
    def metered(self) -> bool:
        """Whether Intuit counts the call against the app's monthly reads."""
        return self.reads > 0

    @property
    def writes(self) -> bool:
        """Whether the call can change something, alone or as a batch."""
        return self.operation in WRITES or self.operation == "batch"

    @property
    def lingers(self) -> float:
        """Seconds that QuickBooks may go on making the rest of it after we stopped listening.

        Intuit gives up on a request after 120 s; until then a look at a batch sees a part of it.
        """
        return 130.0 if self.operation == "batch" else 0.0

    @property
    def label(self) -> str:
        """What the call does, in two words for a sentence or a log line."""
        return f"{self.operation} {self.entity}".strip()

    @property
    def target(self) -> str:
        """Path and query string as they are sent, after `/v3/company/{realm}/`."""
        return f"{self.path}?{urlencode(self.params, quote_via=quote)}"

    def to_json(self) -> dict[str, Any]:
        """Return the call as plain JSON values, for a jsonb column."""
        return {
            "method": self.method,
            "entity": self.entity,
            "operation": self.operation,
            "path": self.path,
            "params": [list(param) for param in self.params],
            "body": self.body,
            "requestid": self.requestid,
            "reads": self.reads,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Call:
        """Return the call that `to_json` wrote."""
        return cls(
            method=cast(Method, stored["method"]),
            entity=stored["entity"],
            operation=cast(Operation, stored["operation"]),
            path=stored["path"],
            params=tuple((name, value) for name, value in stored["params"]),
            body=stored["body"],
            requestid=stored["requestid"],
            reads=stored["reads"],
        )
