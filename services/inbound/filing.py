"""Filing what QuickBooks showed: what is news becomes a change and an operation of its own, the rest is counted.

One operation a change, so that one nobody can digest holds up no other. Our own writes are recognised by the
SyncToken that their answer bore, and end here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import Connection, text

from services.connections.companies import Company
from services.inbound import objects, underway
from services.inbound.objects import Key, Newest
from services.inbound.sightings import Sighting
from services.inbound.underway import Underway
from services.ledger import attempts, operations
from services.ledger.operations import Lane, Plan, Step

Outcome = Literal["new", "seen", "echo", "unlinked", "unmapped", "unknown"]


@dataclass(frozen=True, slots=True)
class Judging:
    """What becomes of the changes of one entity: the kind of their operations, and what those are about."""

    kind: str
    queue: str
    subject: str


JUDGING: Final[Mapping[str, Judging]] = {
    "Payment": Judging("apply_payment", "inbound_apply", "quickbooks_payment"),
    "Customer": Judging("check_customer", "inbound_apply", "quickbooks_customer"),
    "RefundReceipt": Judging("report_refund", "inbound_apply", "quickbooks_refund_receipt"),
    "Invoice": Judging("check_document", "drift_check", "quickbooks_invoice"),
    "CreditMemo": Judging("check_document", "drift_check", "quickbooks_credit_memo"),
}

_ONE_AT_A_TIME = text("SELECT FROM change_feed WHERE company_id = :company FOR UPDATE")
_LINKED = text(
    """SELECT l.external_type, l.external_id, l.sync_token, l.state IN ('synced', 'drift') AS live
         FROM unnest(CAST(:entities AS text[]), CAST(:ids AS text[])) AS u (entity, id)
         JOIN link l ON l.company_id = :company AND l.external_type = u.entity AND l.external_id = u.id"""
)
_MAPPED = text(
    """SELECT DISTINCT external_id FROM mapping
        WHERE company_id = :company AND kind IN ('customer', 'billing_profile')
          AND external_id = ANY (CAST(:ids AS text[]))"""
)
_UNFINISHED = text(
    """SELECT DISTINCT o.document_kind, o.document_id
         FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS u (kind, id)
         JOIN operation o ON o.tenant_id = :tenant AND o.document_kind = u.kind AND o.document_id = u.id
          AND o.state IN ('queued', 'waiting', 'scheduled', 'failed')"""
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the company's objects are to us: tokens of linked ones, mapped customers, creations without an answer."""

    known: Mapping[Key, Newest]
    tokens: Mapping[Key, Collection[str]]
    dead: Collection[Key]  # linked once, and gone or void by our own hand
    customers: Collection[str]
    underway: Sequence[Underway] = field(default=())


def file(
    connection: Connection, company: Company, cycle: int | None, sightings: Sequence[Sighting]
) -> Counter[str]:
    """File what an answer shows and open what follows; returns what it was. `cycle`: None outside of the feed."""
    outcomes: Counter[str] = Counter()
    if not sightings:
        return outcomes
    connection.execute(_ONE_AT_A_TIME, {"company": company.company_id})
    around = _look_around(connection, company.company_id, sightings)
    known = dict(around.known)
    news: dict[Key, tuple[Sighting, int]] = {}
    for sighting in sightings:
        key = (sighting.entity, sighting.id)
        outcome = judge(sighting, known.get(key), around)
        outcomes[outcome] += 1
        if outcome == "new":
            before = around.known.get(key)
            version = before.version + 1 if before is not None else 1
            news[key] = (sighting, version)
            known[key] = Newest(version, sighting.token, sighting.changed_at, sighting.deleted)
    versions = list(news.values())
    objects.put(connection, company.tenant_id, company.company_id, cycle, versions)
    _open(connection, company, versions)
    return outcomes


def judge(sighting: Sighting, known: Newest | None, around: Surroundings) -> Outcome:
    """What a sighting is to us. Pure."""
    if sighting.entity not in JUDGING:
        return "unknown"
    key = (sighting.entity, sighting.id)
    tokens = around.tokens.get(key, ())
    if sighting.token in tokens:
        return "echo"
    if sighting.deleted and key in around.dead and known is None:
        return "echo"
    if any(objects.compare_tokens(sighting.token, token) < 0 for token in tokens):
        return "seen"
    if not objects.is_news(sighting, known):
        return "seen"
    if known is not None or tokens or sighting.unreadable:
        return "new"
    if sighting.entity == "Customer":
        return "new" if sighting.id in around.customers else "unmapped"
    if sighting.deleted:
        return "unlinked"
    if sighting.entity == "RefundReceipt":
        return "new" if sighting.customer_id in around.customers else "unmapped"
    if sighting.entity == "Payment":
        return "new"
    return "new" if any(one.made(sighting) for one in around.underway) else "unlinked"


def subject_id(company: Company, external_id: str) -> str:
    """The id by which ledger and exceptions know an object: QuickBooks' own, within the company."""
    return f"{company.realm_id}/{external_id}"


def step(company: Company, entity: str, external_id: str, version: int, repair: int = 0) -> Step:
    """The operation that judges a version of an object."""
    judging = JUDGING[entity]
    plan = Plan(
        kind=judging.kind,
        queue=judging.queue,
        company_id=company.company_id,
        lane=Lane.LOCAL,
        payload={"entity": entity, "id": external_id},
    )
    return Step(judging.subject, subject_id(company, external_id), plan, version, repair)


def _look_around(connection: Connection, company_id: UUID, sightings: Sequence[Sighting]) -> Surroundings:
    keys = sorted({(sighting.entity, sighting.id) for sighting in sightings})
    values = {"company": company_id, "entities": [e for e, _ in keys], "ids": [i for _, i in keys]}
    # Creations first and links second: one that ends in between is seen as a link.
    creating = underway.creations(connection, company_id)
    tokens: dict[Key, set[str]] = {}
    dead: set[Key] = set()
    for row in connection.execute(_LINKED, values):
        tokens.setdefault((row.external_type, row.external_id), set()).add(row.sync_token)
        if not row.live:
            dead.add((row.external_type, row.external_id))
    customers = {s.id if s.entity == "Customer" else s.customer_id for s in sightings} - {None}
    mapped = connection.execute(_MAPPED, {"company": company_id, "ids": sorted(map(str, customers))})
    return Surroundings(
        known=objects.newest(connection, company_id, keys),
        tokens=tokens,
        dead=dead,
        customers=set(mapped.scalars()),
        underway=creating,
    )


def _open(connection: Connection, company: Company, versions: Sequence[tuple[Sighting, int]]) -> None:
    """One operation a version; those of earlier versions that were not done yet have become pointless."""
    steps = [step(company, sighting.entity, sighting.id, version) for sighting, version in versions]
    values = {
        "tenant": company.tenant_id,
        "kinds": [one.document_kind for one in steps],
        "ids": [one.document_id for one in steps],
    }
    kinds = {judging.kind for judging in JUDGING.values()}
    for row in connection.execute(_UNFINISHED, values).all():
        because = "a newer version of it was seen"
        attempts.supersede(connection, company.tenant_id, row.document_kind, row.document_id, kinds, because)
    operations.insert_all(connection, company.tenant_id, steps)
