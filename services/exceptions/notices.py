"""Notices: what a tenant's people are told about without asking, once for each key.

A notice, and a delivery to everybody who is to have it, are written in one transaction: with the fact they tell of, or
by a job that finds facts without a notice. Sending is the business of the delivery's lane (`services.psa.lanes`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Connection, Row, text

from services.mapping import settings

Kind = Literal["connection", "token", "digest", "backlog", "reconciliation", "deliveries"]

TYPE: Final = "notice.v1"
KEEP: Final = timedelta(days=400)
BATCH: Final = 2000
_MAILS_A_MINUTE: Final = 60

_WRITE = text(
    """INSERT INTO notice (tenant_id, kind, key, title, message, details, company_id)
       VALUES (:tenant, :kind, :key, :title, :message, CAST(:details AS jsonb), :company)
       ON CONFLICT (tenant_id, key) DO NOTHING
       RETURNING notice_id, kind, title, message, details, company_id, created_at"""
)
_TOLD = text(
    """INSERT INTO notice_exception (exception_id, tenant_id, notice_id)
       SELECT e.id, :tenant, :notice FROM unnest(CAST(:exceptions AS uuid[])) AS e (id)
       ON CONFLICT DO NOTHING"""
)
_MAIL_LANE = text(
    """INSERT INTO subscription (tenant_id, kind, name, event_types, per_minute, created_by)
       VALUES (:tenant, 'mail', 'Mail', '{}', :per_minute, 'algasync')
       ON CONFLICT (tenant_id, kind) WHERE kind IN ('algapsa', 'mail') AND state <> 'deleted' DO NOTHING"""
)
_BY_MAIL = text(
    """INSERT INTO delivery (subscription_id, tenant_id, event_id, type, subject, position, recipient, body)
       SELECT s.subscription_id, :tenant, :notice, :type, r.address, 0, r.address, :body
         FROM subscription s CROSS JOIN unnest(CAST(:recipients AS text[])) AS r (address)
        WHERE s.tenant_id = :tenant AND s.kind = 'mail' AND s.state <> 'deleted'
       ON CONFLICT DO NOTHING"""
)
_BY_WEBHOOK = text(
    """INSERT INTO delivery (subscription_id, tenant_id, event_id, type, subject, position, body)
       SELECT s.subscription_id, :tenant, :notice, :type, CAST(:notice AS text), 0, :body FROM subscription s
        WHERE s.tenant_id = :tenant AND s.kind = 'webhook' AND s.state <> 'deleted' AND :type = ANY (s.event_types)
       ON CONFLICT DO NOTHING"""
)
_PAGE = """SELECT notice_id, tenant_id, kind, title, message, details, company_id, created_at FROM notice
            WHERE tenant_id = :tenant {where} ORDER BY created_at DESC, notice_id DESC LIMIT :limit"""
_SENT = text(
    """SELECT d.event_id AS notice_id, s.kind AS channel, coalesce(nullif(d.recipient, ''), s.name) AS recipient,
              d.state, d.attempts, d.error, d.closed_at
         FROM delivery d JOIN subscription s USING (subscription_id)
        WHERE d.tenant_id = :tenant AND d.event_id = ANY (CAST(:notices AS uuid[]))
        ORDER BY channel, recipient"""
)
_FORGET = text(
    """DELETE FROM notice WHERE notice_id IN (
         SELECT n.notice_id FROM notice n
          WHERE n.created_at < statement_timestamp() - CAST(:keep AS interval)
            AND NOT EXISTS (SELECT FROM notice_exception x JOIN exception e USING (exception_id)
                             WHERE x.notice_id = n.notice_id AND e.state IN ('open', 'in_progress'))
          LIMIT :batch)"""
)


@dataclass(frozen=True, slots=True)
class Told:
    """Whom a notice goes to, and how far it is: pending, delivered or failed."""

    channel: str
    recipient: str
    state: str
    attempts: int
    error: str | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice and where it went."""

    notice_id: UUID
    tenant_id: str
    kind: str
    title: str
    message: str
    details: dict[str, Any]
    company_id: UUID | None
    created_at: datetime
    told: list[Told]


@dataclass(frozen=True, slots=True)
class Page:
    """One page, newest first; `after` continues it."""

    notices: list[Notice]
    after: tuple[datetime, UUID] | None


def write(
    connection: Connection,
    tenant: str,
    kind: Kind,
    key: str,
    title: str,
    message: str,
    *,
    details: Mapping[str, Any] | None = None,
    company_id: UUID | None = None,
    exceptions: Collection[UUID] = (),
) -> UUID | None:
    """Write a notice and what is owed to its recipients; None when the key was told before.

    `exceptions` are those it tells of: no digest tells of them again.
    """
    values = {
        "tenant": tenant,
        "kind": kind,
        "key": key,
        "title": title,
        "message": message,
        "details": json.dumps(dict(details or {}), default=str),
        "company": company_id,
    }
    made = connection.execute(_WRITE, values).one_or_none()
    if made is None:
        return None
    notice_id: UUID = made.notice_id
    facts = {"tenant": tenant, "notice": notice_id, "type": TYPE, "body": _body(tenant, made)}
    connection.execute(_TOLD, {**facts, "exceptions": list(exceptions)})
    connection.execute(_BY_WEBHOOK, facts)
    recipients = sorted(set(settings.resolve(connection, tenant).notice_recipients))
    if recipients:
        connection.execute(_MAIL_LANE, {"tenant": tenant, "per_minute": _MAILS_A_MINUTE})
        connection.execute(_BY_MAIL, {**facts, "recipients": recipients})
    return notice_id


def page(
    connection: Connection,
    tenant: str,
    *,
    kind: str | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> Page:
    """A tenant's notices, newest first, each with where it went."""
    where, values = "", dict[str, Any](tenant=tenant, limit=limit + 1)
    if kind is not None:
        where += " AND kind = :kind"
        values["kind"] = kind
    if after is not None:
        where += " AND (created_at, notice_id) < (:after_at, :after_id)"
        values["after_at"], values["after_id"] = after
    rows = connection.execute(text(_PAGE.format(where=where)), values).all()
    more, rows = len(rows) > limit, rows[:limit]
    told: dict[UUID, list[Told]] = {}
    sent = {"tenant": tenant, "notices": [row.notice_id for row in rows]}
    for notice_id, *facts in connection.execute(_SENT, sent):
        told.setdefault(notice_id, []).append(Told(*facts))
    found = [Notice(**row._mapping, told=told.get(row.notice_id, [])) for row in rows]
    return Page(found, (found[-1].created_at, found[-1].notice_id) if more else None)


def forget(connection: Connection) -> int:
    """Drop one batch of old notices whose exceptions are closed; returns how many. For the fleet's upkeep."""
    return connection.execute(_FORGET, {"keep": KEEP, "batch": BATCH}).rowcount


def _body(tenant: str, made: Row[Any]) -> str:
    """The notice as a CloudEvents message, which is what a webhook gets and a mail is made of."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": str(made.notice_id),
            "source": "//algasync",
            "type": f"com.algapsa.accounting.{TYPE}",
            "subject": str(made.notice_id),
            "time": f"{made.created_at:%Y-%m-%dT%H:%M:%S.%f}Z",
            "datacontenttype": "application/json",
            "tenantid": tenant,
            "data": {
                "notice_id": str(made.notice_id),
                "kind": made.kind,
                "title": made.title,
                "message": made.message,
                "details": made.details,
                "company_id": str(made.company_id) if made.company_id else None,
            },
        },
        ensure_ascii=False,
    )
