"""Writes that may be repeated: the outcome is kept under the caller's Idempotency-Key, in the effect's transaction.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

from services.api.problems import ApiError

KEPT = timedelta(days=7)

_BEGIN = text(
    """INSERT INTO api_outcome (tenant_id, key, request_hash) VALUES (:tenant, :key, :hash)
       ON CONFLICT DO NOTHING"""
)
_SEEN = text("SELECT request_hash, status, body FROM api_outcome WHERE tenant_id = :tenant AND key = :key")
_END = text(
    """UPDATE api_outcome SET status = :status, body = :body
        WHERE tenant_id = :tenant AND key = :key"""
)
_FORGET = text("DELETE FROM api_outcome WHERE created_at < statement_timestamp() - CAST(:kept AS interval)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write answered, as JSON; `repeated` when it was answered before and nothing was done now."""

    status: int
    body: str
    repeated: bool = False


def once(
    connection: Connection, tenant: str, key: str, request_hash: bytes, act: Callable[[], tuple[int, str]]
) -> Outcome:
    """Do it, or return the outcome of the request that came first with this key.

    A request at the same time with the same key waits for the first one. Raises `ApiError` 422 when the key was
    used for another request. What fails is rolled back, key included, and may be tried again.
    """
    values = {"tenant": tenant, "key": key, "hash": request_hash}
    if not connection.execute(_BEGIN, values).rowcount:
        before = seen(connection, tenant, key, request_hash)
        assert before is not None  # it kept us from beginning
        return before
    status, body = act()
    connection.execute(_END, {**values, "status": status, "body": body})
    return Outcome(status, body)


def seen(connection: Connection, tenant: str, key: str, request_hash: bytes) -> Outcome | None:
    """What was answered under this key; None when nothing was. Raises `ApiError` as `once` does."""
    found = connection.execute(_SEEN, {"tenant": tenant, "key": key}).one_or_none()
    if found is None:
        return None
    if bytes(found.request_hash) != request_hash:
        raise ApiError(
            422,
            "idempotency_key_reused",
            "this Idempotency-Key was used for another request; use a new key for each write",
            field="header.Idempotency-Key",
        )
    return Outcome(found.status, found.body, repeated=True)


def forget(connection: Connection) -> int:
    """Drop outcomes older than `KEPT`; returns how many. For the fleet's upkeep."""
    return connection.execute(_FORGET, {"kept": KEPT}).rowcount
