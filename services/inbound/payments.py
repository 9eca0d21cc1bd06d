"""Handler of `apply_payment`: a payment in QuickBooks, as it stands now, becomes what billing believes of it.

QuickBooks is authoritative for payments: whatever was told before is replaced by what stands there now. What cannot
be told for certain is not told: it is held with a reason, or asks a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import ValidationError
from sqlalchemy import Connection

from messages.accounting import Customer
from services.inbound import adoption, alike, cases, checks, credit, held, owners, telling, troubles
from services.inbound.cases import Case
from services.inbound.local import LocalHandler
from services.inbound.money import Money, as_agreed, as_seen, lay_out, targets
from services.inbound.split import Target, Unreadable, split
from services.ledger import documents, links
from services.ledger.documents import Description
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Done, Fail, Hold, Prepared, Problem, Skip
from services.psa import payments as beliefs
from services.psa.payments import Belief
from services.quickbooks.entities import Payment

Gone = Literal["voided", "deleted"]


class ApplyPayment(LocalHandler):
    """Judges payments."""

    kind = "apply_payment"

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Compare the payment as it stands with what billing has of it, and tell the difference."""
        case = cases.load(connection, operation)
        if case is None:
            return Skip("superseded", "a newer version of it was seen")
        credit.agreed(case)
        if case.older or (case.ours and not operation.repair):
            case.resolve(troubles.UNMAPPED, "it is as we left it")
            return Skip("echo", "it is what we wrote ourselves, or older")
        if case.under_way is not None:
            return case.under_way
        if case.seen.deleted:
            return self._gone(case, "deleted")
        try:
            payment = Payment.model_validate(case.seen.raw)
            whole = split(payment, case.company.home_currency)
        except (ValidationError, Unreadable) as error:
            return Fail(troubles.unreadable(case, error))
        if whole.empty:
            return self._gone(case, "voided")
        return self._judge(lay_out(case, payment, whole))

    def _judge(self, money: Money) -> Prepared:
        case = money.case
        choice = str((case.operation.payload.get("decision") or {}).get("choice") or "")
        if choice.startswith("same:") and money.own is None:
            adopted = adoption.same_payment(case, money.whole, choice.removeprefix("same:"))
            if not isinstance(adopted, Link):
                return adopted
            money = _again(money, [adopted])
        applied = adoption.applied_on_both(money.case, money.left, money.owned, choice)
        if isinstance(applied, Hold):
            return applied
        if isinstance(applied, Problem):
            return self._fail(money, applied)
        if applied:
            money = _again(money, applied)
        withheld = None if money.known else self._gate(money)
        if withheld is not None:
            return withheld
        problem = self._alike(money, choice) or checks.find(
            case,
            money.left,
            money.invoices,
            own=money.own.document_id if money.own is not None else None,
            accepted=choice == "apply",
        )
        return self._fail(money, problem) if problem is not None else self._take_over(money)

    def _gate(self, money: Money) -> Prepared | None:
        """Whether a payment that billing has nothing of is any of its business; None to go on."""
        cutover = money.case.settings.cutover_date
        if money.invoices:
            return None
        if not money.owner.linked:
            return self._withhold(
                money, "ignored", "unlinked_customer", "neither customer nor invoice is linked"
            )
        if cutover is not None and money.left.date < cutover:
            return self._withhold(
                money, "ignored", "before_cutover", f"it is before the cutover of {cutover}"
            )
        if money.left.cash:
            return self._withhold(money, "held", "unlinked_invoice", "its invoices are not linked")
        if any(use.credit in money.owned for use in money.left.uses):
            reason = "credit of billing settles an invoice that is not linked"
            return self._withhold(money, "held", "credit_on_unlinked_invoice", reason)
        if money.left.uses:
            return self._withhold(
                money, "ignored", "credit_outside", "credit and invoice are QuickBooks' own"
            )
        return None

    def _alike(self, money: Money, choice: str) -> Problem | None:
        """A payment of billing that looks the same, unless billing has this one or somebody said otherwise."""
        if money.known or not money.left.amount or choice in {"different", "apply"}:
            return None
        found = alike.find(
            money.case.connection,
            money.case.tenant,
            clients=money.clients,
            amount=money.left.amount,
            currency=money.left.currency,
            dated=money.left.date,
            company_id=money.case.company_id,
            external_id=money.case.external_id,
        )
        return troubles.duplicate(money.case, money.left, found) if found else None

    def _take_over(self, money: Money) -> Prepared:
        """Tell what differs, and remember what was told."""
        case = money.case
        before = credit.on_invoices(money.base, money.credits)
        told = self._tell_money(money)
        told += credit.tell(money)
        told += credit.lost(case, money.missing, "changed")
        lost = {one.link.document_id for one in money.missing}
        for link in case.live:
            if link.document_id not in lost:
                links.put(case.connection, as_seen(link, case))
        self._expect(money, money.unowned)
        after = {target[1]: money.left.settles(target) for target in money.invoices}
        less = [("Invoice", id_) for id_, amount in before.items() if after.get(id_, 0) < amount]
        owners.room_on(case.connection, case.company_id, case.external_id, less)
        case.resolve(troubles.UNMAPPED, "it is taken over")
        _refresh_held(case, money.belief, money.customer_id)
        if not told:
            return Done("unchanged", "nothing that concerns billing has changed")
        return Done("told", "; ".join(told))

    def _tell_money(self, money: Money) -> list[str]:
        case, belief = money.case, money.as_told()
        if money.base is None and not money.left.amount:  # credit alone is no cash
            if money.belief is not None:
                beliefs.put(case.connection, belief)
            return []
        if money.base is None:
            beliefs.put(case.connection, belief)
            case.tell.received(belief, money.customer)
            return ["payment received"]
        was = money.belief if money.belief is not None and money.belief.state == "told" else None
        moved = not telling.same(money.base, belief.money)
        renamed = was is not None and (was.facts, was.customer_id) != (belief.facts, belief.customer_id)
        if moved or was is not None:
            beliefs.put(case.connection, belief)
        if not (moved or renamed):
            return []
        case.tell.changed(belief, money.base, money.customer)
        return ["payment changed"]

    def _withhold(self, money: Money, state: beliefs.State, code: str, reason: str) -> Prepared:
        """Not told: known by name, listed with its reason, and judged again when something becomes of it."""
        case = money.case
        beliefs.put(case.connection, replace(money.as_told(), state=state, code=code))
        self._expect(money, money.unowned)
        case.resolve(troubles.UNMAPPED, reason)
        _refresh_held(case, money.belief, money.customer_id)
        return Skip(code, reason)

    def _fail(self, money: Money, problem: Problem) -> Fail:
        """Not told before a person has decided; what billing has of it stays."""
        case, customer = money.case, money.customer
        if money.belief is None or money.belief.state != "told":
            beliefs.put(case.connection, replace(money.as_told(), state="held", code=problem.code))
        self._expect(money, targets(money.whole))
        described = Description(
            number=money.payment.payment_ref_num or case.external_id,
            client_id=customer.client_id,
            client_name=customer.client_name or customer.quickbooks_customer_name,
            currency=money.left.currency,
            total=money.left.amount,
            document_date=money.left.date,
        )
        kind, id_ = case.operation.document_kind, case.operation.document_id
        documents.describe(case.connection, case.tenant, kind, id_, case.seen.version, described)
        _refresh_held(case, money.belief, money.customer_id)
        return Fail(replace(problem, client_id=customer.client_id))

    def _expect(self, money: Money, wanted: Sequence[Target]) -> None:
        case = money.case
        owners.interest(case.connection, case.tenant, case.company_id, case.external_id, wanted)

    def _gone(self, case: Case, how: Gone) -> Prepared:
        """Voided or deleted: what billing has of it does not count any more."""
        belief = beliefs.get(case.connection, case.company_id, case.external_id)
        was = belief
        before = credit.on_invoices(None, credit.told(case))
        told = credit.withdraw(case, how)
        own = next((link for link in case.live if link.kind == "payment"), None)
        if belief is None and own is not None:
            belief = as_agreed(case, own)
        if belief is not None:
            if belief.state == "told":
                before |= credit.on_invoices(belief.money, {})
                told += _withdraw(case, belief, how)
            state: beliefs.State = "withdrawn" if belief.state in {"told", "withdrawn"} else "ignored"
            gone = replace(belief, state=state, code=how, version=case.seen.version)
            beliefs.put(case.connection, gone)
        for link in case.live:
            dead = "deleted" if how == "deleted" else "external_voided"
            links.put(case.connection, replace(as_seen(link, case), state=dead))
        owners.interest(case.connection, case.tenant, case.company_id, case.external_id, [])
        room = [("Invoice", id_) for id_ in before]
        owners.room_on(case.connection, case.company_id, case.external_id, room)
        case.resolve(troubles.UNMAPPED, f"it was {how} in QuickBooks")
        _refresh_held(case, was, was.customer_id if was is not None else "")
        if told:
            return Done("told", "; ".join(told))
        return Skip(how, f"it was {how}, and billing had nothing of it")


def _again(money: Money, more: Sequence[Link]) -> Money:
    """The same payment with more links of ours to it."""
    case = replace(money.case, links=[*money.case.links, *more])
    return lay_out(case, money.payment, money.whole)


def _withdraw(case: Case, belief: Belief, how: Gone) -> list[str]:
    """Tell that money is gone, unless billing said so itself."""
    if belief.billing_payment_id is not None:
        own = documents.get(case.connection, case.tenant, "payment", belief.billing_payment_id)
        if own.state == "voided":
            return []
    customer = Customer(
        quickbooks_customer_id=belief.customer_id or "unknown",
        quickbooks_customer_name=belief.facts.get("customer_name"),
        client_id=belief.client_id,
    )
    case.tell.withdrawn(belief, customer, how)
    return [f"payment {how}"]


def _refresh_held(case: Case, before: Belief | None, customer_id: str) -> None:
    """The exceptions of the customers that it is held for, or was."""
    now = beliefs.get(case.connection, case.company_id, case.external_id)
    both = [
        one for one in (before, now) if one is not None and one.state == "held" and one.code in held.CODES
    ]
    for customer in {one.customer_id for one in both}:
        held.refresh(case.connection, case.company, customer)
