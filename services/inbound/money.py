"""A payment on the table: taken apart, with the owners of everything on it and what billing has of it so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from messages.accounting import Customer, PaymentState
from services.inbound import adoption, applications, credit, owners, telling
from services.inbound.applications import Application
from services.inbound.cases import Case
from services.inbound.owners import Owned, Owner
from services.inbound.split import Split, Target, Use, split
from services.ledger import documents
from services.ledger.links import Link
from services.psa import payments as beliefs
from services.psa.credits import Applied
from services.psa.payments import Belief
from services.quickbooks.entities import Payment


@dataclass(frozen=True)
class Money:
    """`whole` is the payment as it stands, `left` without what applications of ours put on it, `missing` are those
    of them that are not on it (any more).
    """

    case: Case
    payment: Payment
    whole: Split
    left: Split
    applications: Sequence[Application]
    missing: Sequence[Application]
    owned: Mapping[Target, Owned]
    owner: Owner
    belief: Belief | None
    own: Link | None  # the PSA's payment that it is
    base: PaymentState | None  # what billing has of it now
    credits: Mapping[str, Applied]  # what billing was told of credits on it

    @property
    def known(self) -> bool:
        """Whether billing has anything of it."""
        told = any(applied.state == "told" for applied in self.credits.values())
        return self.base is not None or told or bool(self.case.live)

    @property
    def invoices(self) -> dict[Target, Owned]:
        """Invoices of billing that it settles, by cash or credit of others than us."""
        return {target: self.owned[target] for target in self.left.charges if target in self.owned}

    @property
    def unowned(self) -> list[Target]:
        """Invoices and credit memos on it that are not linked."""
        return [target for target in targets(self.whole) if target not in self.owned]

    @property
    def uses(self) -> list[Use]:
        """Credits of others than us on invoices of billing."""
        return [use for use in self.left.uses if use.charge in self.owned]

    @property
    def clients(self) -> list[str]:
        """Clients it may be from: the customer's, and those of the invoices."""
        named = [self.owner.client_id, *(owned.client_id for owned in self.invoices.values())]
        return sorted({one for one in named if one is not None})

    @property
    def customer_id(self) -> str:
        """QuickBooks' id of who paid."""
        return customer_of(self.payment)

    @property
    def customer(self) -> Customer:
        """Who paid, as events say it."""
        named = self.payment.customer_ref
        client = self.owner.client_id or (self.clients[0] if len(self.clients) == 1 else None)
        names = {owned.client_name for owned in self.invoices.values() if owned.client_id == client}
        return Customer(
            quickbooks_customer_id=self.customer_id or "unknown",
            quickbooks_customer_name=named.name if named is not None else None,
            client_id=client,
            client_name=names.pop() if client and len(names) == 1 else None,
        )

    @property
    def state(self) -> PaymentState:
        """Its cash, as events say it."""
        return telling.money(self.left, self.owned)

    @property
    def facts(self) -> dict[str, str]:
        """What may change beside the money."""
        case, payment = self.case, self.payment
        method = payment.payment_method_ref
        known = owners.method(case.connection, case.company_id, method.value) if method is not None else None
        rate = payment.exchange_rate if payment.exchange_rate not in {None, Decimal(1)} else None
        facts = {
            "reference": payment.payment_ref_num,
            "method": known or (method.name or method.value if method is not None else None),
            "customer_name": payment.customer_ref.name if payment.customer_ref is not None else None,
            "exchange_rate": format(rate, "f") if rate is not None else None,
        }
        return {name: value for name, value in facts.items() if value}

    def as_told(self) -> Belief:
        """What billing will believe once it is told of this."""
        case = self.case
        sequence = None
        if self.own is not None:
            own = documents.get(case.connection, case.tenant, "payment", self.own.document_id)
            sequence = own.applied_sequence
        return Belief(
            tenant_id=case.tenant,
            company_id=case.company_id,
            external_id=case.external_id,
            payment_id=payment_id(case),
            state="told",
            version=case.seen.version,
            customer_id=self.customer_id,
            currency=self.left.currency,
            money=self.state,
            client_id=self.customer.client_id,
            billing_payment_id=self.own.document_id if self.own is not None else None,
            billing_sequence=sequence,
            facts=self.facts,
        )


def lay_out(case: Case, payment: Payment, whole: Split) -> Money:
    """Put a payment on the table."""
    owned = owners.of_objects(case.connection, case.company_id, targets(whole))
    ours = applications.of_payment(case.connection, case.tenant, case.company_id, case.live)
    left, missing = applications.without(whole, ours)
    belief = beliefs.get(case.connection, case.company_id, case.external_id)
    own = next((link for link in case.live if link.kind == "payment"), None)
    base: PaymentState | None = None
    if belief is not None and belief.state == "told":
        base = belief.money
    elif own is not None:
        base = as_agreed(case, own).money
    return Money(
        case=case,
        payment=payment,
        whole=whole,
        left=left,
        applications=[one for one in ours if one not in missing],
        missing=missing,
        owned=owned,
        owner=owners.of_customer(case.connection, case.company_id, customer_of(payment)),
        belief=belief,
        own=own,
        base=base,
        credits=credit.told(case),
    )


def as_agreed(case: Case, own: Link) -> Belief:
    """What billing has of a payment of its own before anything was told of it: as we last agreed on it."""
    document = documents.get(case.connection, case.tenant, "payment", own.document_id)
    if own.linked_via == adoption.SAME:
        return adoption.as_billed(case, own, document)
    payment = Payment.model_validate(own.snapshot)
    agreed = split(payment, case.company.home_currency)
    owned = owners.of_objects(case.connection, case.company_id, targets(agreed))
    ours = applications.of_payment(case.connection, case.tenant, case.company_id, case.live)
    left, _ = applications.without(agreed, ours)
    return Belief(
        tenant_id=case.tenant,
        company_id=case.company_id,
        external_id=case.external_id,
        payment_id=payment_id(case),
        state="told",
        version=case.seen.version,
        customer_id=customer_of(payment),
        currency=left.currency,
        money=telling.money(left, owned),
        client_id=document.client_id,
        billing_payment_id=own.document_id,
        billing_sequence=document.applied_sequence,
    )


def as_seen(link: Link, case: Case) -> Link:
    """The link with the object as it stands now: both sides agree on it from here on."""
    raw, token = case.seen.raw, case.seen.token
    if raw is None or token is None:
        return link
    return replace(link, sync_token=token, snapshot=dict(raw), total=raw.get("TotalAmt", link.total))


def payment_id(case: Case) -> str:
    """Our name of the payment, the same in every event about it."""
    return f"{case.company.realm_id}/{case.external_id}"


def customer_of(payment: Payment) -> str:
    """QuickBooks' id of who paid."""
    return payment.customer_ref.value if payment.customer_ref is not None else ""


def targets(whole: Split) -> list[Target]:
    """Every invoice and credit memo on a payment."""
    on_it = {*whole.charges, *(use.credit for use in whole.uses)}
    return sorted(target for target in on_it if target[0] in {"Invoice", "CreditMemo"})
