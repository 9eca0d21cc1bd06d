"""Handler of `check_customer`: a customer that a client is linked to was renamed, put out of use, deleted or merged.

Clients are never made from customers, and their names never follow. A merge makes one id vanish and moves everything
it had to the survivor: the link follows, once it is known who that is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from services.connections import webhooks
from services.connections.companies import Company
from services.exceptions import causes, desk, replays
from services.inbound import cases, filing, sightings
from services.inbound.cases import Case
from services.ledger.operations import Operation
from services.ledger.ports import Done, Found, Look, Prepared, Problem, Send, Settled, Skip
from services.mapping import mappings
from services.quickbooks import calls
from services.quickbooks.errors import QuickBooksError, Refused
from services.quickbooks.fault_codes import NOT_FOUND
from services.quickbooks.reply import Reply

UNLINKED: Final = "accounting_sync_customer_unlinked"
SUBJECTS: Final = {"customer": "client", "billing_profile": "billing_profile"}

_LINKED = text(
    """SELECT kind, key, variant, external_name, details FROM mapping
        WHERE company_id = :company AND external_id = :id AND kind IN ('customer', 'billing_profile')
        ORDER BY kind, key, variant"""
)
# Documents of ours that were the customer's, those first whose newer version was seen already.
_DOCUMENTS = text(
    """SELECT l.external_type, l.external_id, c.body #>> '{CustomerRef,value}' AS customer,
              c.body #>> '{CustomerRef,name}' AS name
         FROM link l
         LEFT JOIN quickbooks_object o ON o.company_id = l.company_id AND o.entity = l.external_type
                                      AND o.external_id = l.external_id AND NOT o.deleted
         LEFT JOIN quickbooks_change c ON c.change_id = o.change_id
        WHERE l.company_id = :company AND l.state IN ('synced', 'drift')
          AND l.snapshot #>> '{CustomerRef,value}' = :id
        ORDER BY c.body #>> '{CustomerRef,value}' IS DISTINCT FROM :id AND c.body IS NOT NULL DESC, l.link_id DESC
        LIMIT 1"""
)
# What was to go to the customer that is gone, and was refused for whatever word QuickBooks has for that.
_REFUSED = text(
    """SELECT operation_id FROM operation
        WHERE company_id = :company AND state = 'failed' AND outcome = 'refused' AND reason_code LIKE 'quickbooks\\_%'
          AND CASE WHEN call ->> 'operation' IN ('create', 'update')
                   THEN CAST(call ->> 'body' AS jsonb) #>> '{CustomerRef,value}' = :id END
        ORDER BY operation_id FOR UPDATE SKIP LOCKED"""
)
_AGAIN = text(
    """UPDATE quickbooks_object SET judge_at = clock_timestamp()
        WHERE company_id = :company AND entity = 'Customer' AND external_id = :id AND deleted"""
)


@dataclass(frozen=True, slots=True)
class Linked:
    """A client, or a billing profile, that stands for the customer."""

    kind: str
    key: str
    variant: str
    name: str
    details: Mapping[str, Any]


class CheckCustomer:
    """Judges customers."""

    kind = "check_customer"
    queue = "inbound_apply"
    needs_auto_sync = False

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Follow what concerns a link; ask one document of the customer's where it went when it vanished."""
        case = cases.load(connection, operation)
        if case is None:
            return Skip("superseded", "a newer version of it was seen")
        linked = _linked(case, case.external_id)
        if not linked:
            return Skip("unmapped", "no client is linked to it (any more)")
        if case.seen.raw is not None:
            return _living(case, linked, case.seen.raw)
        survivor = webhooks.survivor(connection, case.company_id, case.external_id)
        if survivor is not None:
            return _follow(case, linked, survivor, "")
        known = connection.execute(
            _DOCUMENTS, {"company": case.company_id, "id": case.external_id}
        ).one_or_none()
        if known is not None and known.customer not in {None, case.external_id}:
            return _follow(case, linked, known.customer, known.name or "")
        if known is None or operation.seen is not None:
            return _lost(case, linked, "deleted")
        return Send(calls.read(known.external_type, known.external_id))

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """The document names its customer: the survivor of a merge, or still the one that is gone."""
        case = cases.load(connection, operation)
        assert case is not None  # what is deleted has no newer version
        linked = _linked(case, case.external_id)
        named = reply.data[reply.call.entity].get("CustomerRef")
        survivor = sightings.reference(named)
        if not linked:
            return Settled({})
        if survivor is None or survivor == case.external_id:
            done = _lost(case, linked, "deleted")
        else:
            done = _follow(case, linked, survivor, str(named.get("name") or ""))
        return Settled({"code": done.code, "reason": done.reason})

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any] | None:
        """The document is gone as well: nobody can say where the customer went."""
        return {"gone": True} if refusal.fault.code == NOT_FOUND else None

    def refused(self, connection: Connection, operation: Operation, refusal: QuickBooksError) -> Problem:
        """QuickBooks does not show the document."""
        return Problem(
            type=UNLINKED,
            code="customer_not_readable",
            cause=f"customer:{operation.company_id}:{operation.payload['id']}",
            title="Where a customer of QuickBooks went cannot be told",
            happened=f"The customer is gone, and QuickBooks refused to show a document of it: {refusal}",
            why="The client may belong to another customer now.",
            fix="Link the client to its customer in the mappings, then discard this item.",
        )

    def find(self, operation: Operation, look: Look) -> Found:
        """A look has no effect that could stand already."""
        return Found()


def merged(connection: Connection, company: Company, loser: str) -> None:
    """Take over what a webhook says: a customer was merged into another, which `webhooks.survivor` names.

    When its end was seen before, and judged without that knowledge, it is judged again.
    """
    outcomes = filing.file(connection, company, None, sightings.gone("Customer", [loser]))
    if not outcomes["new"]:
        connection.execute(_AGAIN, {"company": company.company_id, "id": loser})


def _linked(case: Case, customer_id: str) -> list[Linked]:
    rows = case.connection.execute(_LINKED, {"company": case.company_id, "id": customer_id})
    return [Linked(*row) for row in rows]


def _living(case: Case, linked: Sequence[Linked], raw: Mapping[str, Any]) -> Done:
    name = str(raw.get("DisplayName") or "")
    if raw.get("Active") is False:
        return _lost(case, linked, "inactive")
    for one in linked:
        _resolve(case, one, "the customer is in use")
        if name and one.name != name:
            _map(case, one, case.external_id, name)
    renamed = any(name and one.name != name for one in linked)
    return Done("renamed", f"it is called {name} now") if renamed else Done("unchanged", "the link holds")


def _follow(case: Case, linked: Sequence[Linked], survivor: str, name: str) -> Done:
    """The links go with the survivor, unless it stands for somebody else: two clients, one customer."""
    taken = [
        one for one in _linked(case, survivor) if (one.kind, one.key) not in {(x.kind, x.key) for x in linked}
    ]
    if taken:
        return _lost(case, linked, "merged_into_linked", survivor)
    for one in linked:
        _map(case, one, survivor, name or one.name)
        _resolve(case, one, f"it was merged into customer {survivor}, and the link follows")
    refused = {"company": case.company_id, "id": case.external_id}
    for operation_id in case.connection.execute(_REFUSED, refused).scalars().all():
        replays.again(
            case.connection,
            operation_id,
            desk.ACTOR,
            f"its customer was merged into {survivor}, and the link follows",
        )
    return Done("merged", f"it was merged into customer {survivor}; the link follows")


def _lost(case: Case, linked: Sequence[Linked], reason: str, survivor: str = "") -> Done:
    for one in linked:
        desk.report(case.connection, _subject(case, one), _problem(case, one, reason, survivor))
    return Done(reason, "clients linked to it need another customer")


def _map(case: Case, one: Linked, external_id: str, name: str) -> None:
    mappings.put(
        case.connection,
        case.tenant,
        case.company_id,
        (one.kind, one.key, one.variant),
        external_id=external_id,
        external_name=name[: mappings.MAX_KEY],
        details=json.loads(json.dumps(dict(one.details))),
        actor=desk.ACTOR,
        on_mapping_set=_release,
    )


def _release(connection: Connection, tenant: str, cause: str) -> None:
    causes.release(connection, tenant, cause, desk.ACTOR, "its customer is linked again")


def _resolve(case: Case, one: Linked, how: str) -> None:
    desk.resolve(case.connection, _subject(case, one), UNLINKED, how)


def _subject(case: Case, one: Linked) -> desk.Subject:
    return desk.Subject(
        tenant=case.tenant,
        kind=SUBJECTS[one.kind],
        id=one.key,
        direction="inbound",
        company_id=case.company_id,
    )


def _problem(case: Case, one: Linked, reason: str, survivor: str) -> Problem:
    name = one.name or f"customer {case.external_id}"
    said = {
        "inactive": f"{name} was made inactive in QuickBooks.",
        "deleted": f"{name} (id {case.external_id}) is not in QuickBooks any more.",
        "merged_into_linked": f"{name} was merged into customer {survivor}, which another client is linked to.",
    }
    fixes = {
        "inactive": "Make it active again in QuickBooks, which settles this by itself, or link the client to another "
        "customer.",
        "deleted": "Link the client to its customer. If it was merged into another one, that is the one.",
        "merged_into_linked": f"Decide which client customer {survivor} stands for: merge the clients in billing too, "
        "or give one of them a customer of its own.",
    }
    return Problem(
        type=UNLINKED,
        code=reason,
        cause=mappings.cause(one.kind, case.company_id, one.key),
        title=f"The QuickBooks customer of a {'client' if one.kind == 'customer' else 'billing profile'} is gone",
        happened=said[reason],
        why="Documents for this client cannot be exported to a customer that is not there.",
        fix=fixes[reason],
        details={"quickbooks_customer_id": case.external_id, "name": one.name, "survivor": survivor or None},
        client_id=one.key if one.kind == "customer" else None,
    )
