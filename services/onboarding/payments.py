"""Payments of history: brought over through the ordinary applier, so that balances of linked invoices agree.

Only what pays an invoice that is linked and that billing does not have as paid. Money that billing may have by a
record of its own is left to a person: told twice it would be on the invoice twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from services.connections import companies
from services.database import Database
from services.database.engine import ALL_TENANTS
from services.inbound import backfill
from services.onboarding import handover, runs
from services.onboarding.runs import Run
from services.quickbooks import body
from services.refusals import conflict

BATCH = 500
"""Payments handed to the applier in one transaction."""

PAID = frozenset({"paid"})
"""States of an invoice that billing has as paid: its money is there already."""

PARTLY = frozenset({"partially_applied", "partially_paid", "partial"})
"""States of an invoice on which billing has some money: whether this is it, a person must say."""

Verdict = Literal["bring", "there", "paid", "review", "not_ours"]

_PAYMENTS = text(
    """SELECT external_id, data::text AS data FROM onboarding_object
        WHERE run_id = :run AND entity = 'Payment' AND external_id > :after ORDER BY external_id LIMIT :limit"""
)
_LINKED = text(
    """SELECT external_id, document_id FROM link
        WHERE company_id = :company AND kind = 'invoice' AND external_type = 'Invoice'"""
)
_KNOWN = text(
    "SELECT external_id FROM quickbooks_object WHERE company_id = :company AND entity = 'Payment' AND NOT deleted"
)
_READ = text("SELECT done FROM onboarding_reading WHERE run_id = :run AND entity = 'Payment'")
_ASKED = text(
    """SELECT a.run_id, a.actor FROM onboarding_action a JOIN onboarding_run r USING (run_id)
        WHERE a.action = 'payments' AND a.state = 'intended' AND r.state = 'open' ORDER BY a.action_id"""
)
_PENDING = text(
    "SELECT action_id FROM onboarding_action WHERE run_id = :run AND action = 'payments' AND state = 'intended'"
)
_DONE = text(
    """UPDATE onboarding_action SET state = 'done', facts = facts || CAST(:facts AS jsonb)
        WHERE run_id = :run AND action = 'payments' AND state = 'intended'"""
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as read, and what becomes of it, with the reason."""

    id: str
    day: str
    amount: str
    customer: str
    invoices: tuple[str, ...]  # of billing
    verdict: Verdict
    why: str


def plan(connection: Connection, run: Run) -> list[Payment]:
    """Judge every payment that was read. Changes nothing. Raises `Refusal` while they are not read."""
    return [payment for payment, _ in _judged(connection, run)]


def count(found: Iterable[Payment]) -> dict[str, int]:
    """How many meet which end."""
    counted = Counter[str]({"bring": 0, "there": 0, "paid": 0, "review": 0, "not_ours": 0})
    counted.update(one.verdict for one in found)
    return dict(counted)


def ask(connection: Connection, run: Run, *, actor: str) -> bool:
    """Have the fleet bring them over; False when that was asked for already. Raises `Refusal`."""
    _check_read(connection, run)
    if connection.execute(_PENDING, {"run": run.run_id}).first() is not None:
        return False
    runs.record(connection, run, "payments", "payment", "", actor=actor, state="intended")
    return True


def pending(connection: Connection, run_id: UUID) -> bool:
    """Whether the fleet is asked and has not brought them over yet."""
    return connection.execute(_PENDING, {"run": run_id}).first() is not None


def bring_over(database: Database, run: Run, *, actor: str) -> dict[str, int]:
    """Hand what is to be brought to the applier; needs the fleet's role. Returns how many were new, seen and echoes.

    A run that died goes on: what was handed over is seen the second time, and nothing is told twice.
    """
    with database.transaction(run.tenant_id) as connection:
        ask(connection, run, actor=actor)
        company = companies.get(connection, run.company_id)
        rows = [raw for payment, raw in _judged(connection, run) if payment.verdict in {"bring", "there"}]
    taken = Counter[str]({"new": 0, "seen": 0, "echo": 0})
    for first in range(0, len(rows), BATCH):
        with database.transaction(run.tenant_id) as connection:
            runs.opened(connection, run.run_id)
            taken += backfill.take(connection, company, rows[first : first + BATCH])
    with database.transaction(run.tenant_id) as connection:
        connection.execute(_DONE, {"run": run.run_id, "facts": body.dump(dict(taken))})
    return {name: taken[name] for name in ("new", "seen", "echo")}


def bring_asked(database: Database) -> int:
    """Bring over what was asked for by the wizard's screens; returns for how many runs. For the fleet's upkeep."""
    with database.transaction(ALL_TENANTS) as connection:
        asked = [(runs.get(connection, row.run_id), row.actor) for row in connection.execute(_ASKED).all()]
    for run, actor in asked:
        taken = bring_over(database, run, actor=actor)
        log.info("payments_brought_over", tenant=run.tenant_id, run=str(run.run_id), **taken)
    return len(asked)


def _check_read(connection: Connection, run: Run) -> None:
    if not connection.execute(_READ, {"run": run.run_id}).scalar():
        raise conflict(
            "not_read", "the payments of the company are not read yet; read them first", field="run"
        )


def _judged(connection: Connection, run: Run) -> list[tuple[Payment, dict[str, Any]]]:
    _check_read(connection, run)
    place = {"company": run.company_id, "run": run.run_id, "limit": 1000}
    linked = {row.external_id: row.document_id for row in connection.execute(_LINKED, place)}
    known = set(connection.execute(_KNOWN, place).scalars())
    listed = handover.documents(connection, run.tenant_id)
    states = {one.id: one.state for one in listed if one.kind == "invoice"}
    found, after = [], ""
    while rows := connection.execute(_PAYMENTS, {**place, "after": after}).all():
        after = rows[-1].external_id
        for row in rows:
            raw = body.load(row.data)
            found.append((judged(raw, linked, states, known), raw))
    return found


def judged(
    raw: Mapping[str, Any], linked: Mapping[str, str], states: Mapping[str, str], known: set[str]
) -> Payment:
    """One payment: `linked` says which invoice of QuickBooks is which of billing, `states` what billing calls them."""
    invoices = tuple(dict.fromkeys(linked[id_] for id_ in _paid(raw) if id_ in linked))
    verdict, why = _verdict(str(raw["Id"]), invoices, states, known)
    return Payment(
        str(raw["Id"]),
        str(raw.get("TxnDate") or ""),
        str(raw.get("TotalAmt") or "0"),
        str((raw.get("CustomerRef") or {}).get("value") or ""),
        invoices,
        verdict,
        why,
    )


def _verdict(
    id_: str, invoices: Sequence[str], states: Mapping[str, str], known: set[str]
) -> tuple[Verdict, str]:
    if not invoices:
        return "not_ours", "it pays no invoice that is linked"
    if id_ in known:
        return "there", "it was brought over, or came by the change feed, and is judged there"
    now = [states.get(one, "") for one in invoices]
    if all(state in PAID for state in now):
        return "paid", "billing has its invoices as paid"
    if any(state in PAID for state in now):
        return "review", "billing has some of its invoices as paid and others not; enter the rest in billing"
    if any(state in PARTLY for state in now):
        return "review", "billing has money on its invoice already; enter this payment there if it is another"
    return "bring", "it pays a linked invoice that billing has as open"


def _paid(raw: Mapping[str, Any]) -> Iterable[str]:
    """The invoices that a payment is on."""
    for line in raw.get("Line") or []:
        for linked in line.get("LinkedTxn") or []:
            if linked.get("TxnType") == "Invoice":
                yield str(linked["TxnId"])
