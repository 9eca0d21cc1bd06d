"""Handler of `check_document`: an invoice or credit memo of ours in QuickBooks, judged against what both books had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, text

from messages.money import to_decimal, to_minor
from services.exceptions import desk
from services.inbound import cases, differences, drift, owners
from services.inbound.cases import Case
from services.inbound.differences import Difference
from services.inbound.drift import Change
from services.inbound.local import LocalHandler
from services.inbound.owners import Owned
from services.ledger import links
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Done, Prepared, Problem, Skip

_STATES: Final = {"changed": "drift", "voided": "external_voided", "deleted": "deleted"}
_ACTIONS: Final = {
    "changed": ["re_export", "accept", "ignore"],
    "voided": ["mark_void", "recreate", "ignore"],
    "deleted": ["mark_void", "recreate", "ignore"],
}
_CODES: Final = {"voided": "external_voided", "deleted": "external_deleted"}
_DEPOSIT: Final = (
    "Take the deposit off the invoice in QuickBooks and receive it as a payment, which then reaches billing: that "
    "settles this by itself. Accepted, it stays in QuickBooks alone."
)
_NOUNS: Final = {"invoice": "Invoice", "credit_note": "Credit note"}

# A merge moves documents to the surviving customer: the old one is gone, or the client follows already.
_MERGED: Final = text(
    """SELECT EXISTS (SELECT FROM quickbooks_object WHERE company_id = :company AND entity = 'Customer'
                         AND external_id = :old AND deleted)
           OR EXISTS (SELECT FROM mapping WHERE company_id = :company AND kind IN ('customer', 'billing_profile')
                         AND external_id = :new AND key IN (:client, :profile))"""
)


class CheckDocument(LocalHandler):
    """Judges invoices and credit memos."""

    kind = "check_document"
    queue = "drift_check"

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Compare with the link's snapshot; tell of a difference once, close it by itself when it is gone."""
        case = cases.load(connection, operation)
        if case is None:
            return Skip("superseded", "a newer version of it was seen")
        link = next((one for one in case.links if one.kind in {"invoice", "credit_note"}), None)
        if link is not None and (case.older or case.ours):
            _agree(case, link, "our own write took the place of the change")
            return Skip("echo", "it is what we wrote ourselves, or older")
        if case.under_way is not None:
            return case.under_way
        if link is None:
            kind = "invoice" if case.entity == "Invoice" else "credit_note"
            drift.close_former(connection, case.company_id, kind, case.external_id)
            return Skip("unlinked", "it is no document of billing (any more)")
        if case.seen.raw is None:
            return self._gone(case, link, "deleted", [])
        found = _without_merges(case, link, differences.compare(link.snapshot, case.seen.raw))
        # An invoice over nothing looks void once its note says so; by us it was voided already.
        if differences.is_void(case.seen.raw) and (
            link.state == "voided" or not differences.is_void(link.snapshot)
        ):
            return self._gone(case, link, "voided", found)
        if not any(one.owner == "billing" for one in found):
            links.put(connection, _refreshed(link, case, "voided" if link.state == "voided" else "synced"))
            _agree(case, link, "QuickBooks has it as billing again")
            return Done("unchanged", "nothing that billing owns has changed")
        return self._drifted(case, link, "changed", found)

    def _gone(self, case: Case, link: Link, change: Change, found: Sequence[Difference]) -> Prepared:
        """Voided or deleted: by our own hand, once before, in billing too, or by somebody just now."""
        if link.state in {"synced", "drift", "external_voided"} and _owned(case, link).state == "voided":
            state = "voided" if change == "voided" else "deleted"
            links.put(case.connection, _refreshed(link, case, state))
            _agree(case, link, "it is void in both books")
            return Done("void_in_both", f"it was {change} in QuickBooks, and billing has it void")
        if link.state in {"voided", "deleted", "external_voided"}:
            if change == "voided":
                links.put(case.connection, _refreshed(link, case, link.state))
            return Skip("void_already", f"it was {link.state.replace('_', ' ')} before")
        return self._drifted(case, link, change, found)

    def _drifted(self, case: Case, link: Link, change: Change, found: Sequence[Difference]) -> Prepared:
        connection, owned = case.connection, _owned(case, link)
        known = drift.get(connection, case.company_id, link.kind, link.document_id)
        told = differences.digest(change, found)
        if known is not None and known.state == "open" and known.digest == told:
            drift.seen_again(connection, known, case.seen.version, case.seen.raw)
            return Skip("known", "the same differences are open already")
        problem = _problem(case, link, owned, change, found, told)
        about = drift.subject(case.tenant, case.company_id, link.kind, link.document_id)
        exception_id = desk.report(connection, about, problem)
        drift.put(
            connection,
            company_id=case.company_id,
            kind=link.kind,
            document_id=link.document_id,
            tenant=case.tenant,
            change=change,
            version=case.seen.version,
            digest=told,
            differences=found,
            agreed=link.snapshot,
            observed=case.seen.raw,
            exception_id=exception_id,
        )
        links.put(connection, replace(link, state=_STATES[change]))
        raw = case.seen.raw or {}
        case.tell.drifted(
            case.tell.linked(owned, case.external_id),
            change,
            found,
            date=raw.get("TxnDate"),
            currency=owned.currency,
            total=owned.total,
            quickbooks_total=_total(owned, raw),
            exception_id=exception_id,
        )
        return Done("drift", f"somebody {change} it in QuickBooks")


def _agree(case: Case, link: Link, how: str) -> None:
    """Both books have the same again."""
    drift.close(case.connection, case.company_id, link.kind, link.document_id, how)


def _refreshed(link: Link, case: Case, state: str) -> Link:
    """The link with the version that was seen, so that the next write of ours is not stale."""
    raw = dict(case.seen.raw or {})
    return replace(link, sync_token=case.seen.token or link.sync_token, snapshot=raw, state=state)


def _owned(case: Case, link: Link) -> Owned:
    """The document as billing described it."""
    target = (case.entity, case.external_id)
    found = owners.of_objects(case.connection, case.company_id, [target], meet=False)
    return found[target]


def _without_merges(case: Case, link: Link, found: Sequence[Difference]) -> list[Difference]:
    """A customer that was merged into another is not a change that somebody made to the document."""
    if not any(one.field == "customer" for one in found):
        return list(found)
    owned = _owned(case, link)
    raw = case.seen.raw or {}
    values = {
        "company": case.company_id,
        "old": (link.snapshot.get("CustomerRef") or {}).get("value"),
        "new": (raw.get("CustomerRef") or {}).get("value"),
        "client": owned.client_id or "",
        "profile": owned.profile_id or "",
    }
    merged = case.connection.execute(_MERGED, values).scalar_one()
    return [one for one in found if not (merged and one.field == "customer")]


def _total(owned: Owned, raw: dict[str, Any] | Any) -> int | None:
    """QuickBooks' total with billing's sign."""
    if owned.currency is None or raw.get("TotalAmt") is None:
        return None
    total = to_minor(raw["TotalAmt"], owned.currency)
    return -total if owned.kind == "credit_note" else total


def _problem(
    case: Case, link: Link, owned: Owned, change: Change, found: Sequence[Difference], told: str
) -> Problem:
    name = f"{_NOUNS[link.kind]} {owned.number or link.document_id}"
    billing = [one for one in found if one.owner == "billing"]
    fields = {one.field for one in billing}
    code = _CODES.get(change) or ("total_changed" if "total" in fields else "document_changed")
    if fields == {"number"}:
        code = "doc_number_changed"
    said = "; ".join(
        f"{one.field} was {one.agreed or 'nothing'}, is {one.observed or 'nothing'}" for one in billing[:8]
    )
    total = owned.total if owned.total is not None else 0
    worth = f" over {to_decimal(abs(total), owned.currency)} {owned.currency}" if owned.currency else ""
    happened = {
        "changed": f"In QuickBooks {said}.",
        "voided": f"Somebody voided it in QuickBooks; billing has it{worth}.",
        "deleted": f"Somebody deleted it in QuickBooks; billing has it{worth}.",
    }[change]
    fix = {
        "changed": "Re-export it, which puts billing's version back; or accept what QuickBooks has. Undone in "
        "QuickBooks, it settles itself.",
        "voided": "Void it in billing too and mark it void here, or recreate it in QuickBooks.",
        "deleted": "Void it in billing too and mark it void here, or recreate it in QuickBooks.",
    }[change]
    actions = _ACTIONS[change]
    if "deposit" in fields:
        fix, actions = _DEPOSIT, [one for one in actions if one != "re_export"]
    return Problem(
        type=drift.TYPE,
        code=code,
        cause=f"drift:{link.kind}:{link.document_id}:{told[:16]}",
        title=f"{name} was {change} in QuickBooks",
        happened=happened,
        why="The books do not agree any more, and only a person knows which of them is right.",
        fix=fix,
        details={
            "change": change,
            "quickbooks_id": case.external_id,
            "url": case.tell.url(case.entity, case.external_id),
            "differences": [
                {
                    "field": one.field,
                    "billing": one.agreed,
                    "quickbooks": one.observed,
                    "owner": one.owner,
                }
                for one in found
            ],
            "actions": actions,
        },
        client_id=owned.client_id,
        amount=owned.total,
        currency=owned.currency,
    )
