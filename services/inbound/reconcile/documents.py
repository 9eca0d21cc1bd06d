"""Pairing invoices and credit notes: by their links, else by everything that identifies them; then field by field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from messages.money import to_decimal
from services.inbound.reconcile.items import Difference, Item, Leg, Side
from services.inbound.reconcile.ours import Books, Here
from services.inbound.reconcile.reading import Target
from services.inbound.reconcile.theirs import There

KINDS = {"invoice": "Invoice", "credit_note": "CreditMemo"}
_GONE = "not there"


def pair(
    books: Books, there: Mapping[Target, There], parents: Mapping[str, str], realm_id: str
) -> Iterator[tuple[Item, There | None]]:
    """An item for every invoice and credit note that counts in either book and is the PSA's."""
    forms = [one for one in books.documents if one.kind in KINDS and one.state != "draft"]
    linked = {one.target for one in forms}
    free: dict[tuple[str, str], list[There]] = defaultdict(list)
    for one in there.values():
        if one.target not in linked and one.number and not one.void:
            free[one.entity, one.number].append(one)
    for form in forms:
        if form.prepayment:
            if form.live:
                yield _prepaid(form), None
            continue
        if form.target is not None:
            found = there.get(form.target)
            if found is None and not form.live and form.state != "placeholder":
                continue  # void in the PSA, gone in QuickBooks
            item = _compared(form, found, books, parents, realm_id)
            _offset(item, form, found, books, there)
            yield item, found
            continue
        if not form.live:
            continue  # voided before it was exported, or only referred to
        same = [one for one in free[KINDS[form.kind], form.number or ""] if _same(form, one, books)]
        if len(same) == 1:
            free[KINDS[form.kind], form.number or ""].remove(same[0])
            item = _compared(form, same[0], books, parents, realm_id)
            item.why = "not linked; number, total, date and customer agree"
            yield item, same[0]
        else:
            yield _compared(form, None, books, parents, realm_id), None


def settled_before(books: Books) -> Iterator[Item]:
    """What settled, or used up, history that the PSA lists as paid, beyond the payments that the ledger knows."""
    known: dict[Target, int] = defaultdict(int)
    for told in books.beliefs.values():
        for target, amount in told.allocations.items() if told.state == "told" else ():
            known[target] += amount
    for one in books.documents:
        if not (one.listed_paid and one.linked and one.live and one.target and one.total):
            continue
        rest = known[one.target] - one.total
        if rest * one.total >= 0:  # what is known has settled it
            continue
        item = Item(
            key=f"{one.kind}/{one.id}/settled",
            kind="payment",
            currency=one.currency or "",
            billing=Side(one.id, one.number, one.date, rest, legs=(Leg(rest, one.target),), rate=one.rate),
            client_id=one.client_id,
            name=one.client_name,
        )
        item.settle("outside_scope", "history that the PSA handed over as paid")
        yield item


def written_off(
    books: Books, there: Mapping[Target, There], realm_id: str
) -> Iterator[tuple[Item, There | None]]:
    """An item for every credit memo by which an invoice was written off."""
    for one in books.by_hand:
        if one.memo is None:
            continue
        found = there.get(one.memo)
        item = Item(
            key=f"{one.kind}/{one.id}/{one.event}/{one.operation_id}",
            kind="credit_note",
            currency=one.currency,
            billing=Side(one.id, one.number, one.date, one.amount, legs=(Leg(one.amount),)),
            quickbooks=side(found) if found is not None else None,
            target=one.memo,
            client_id=one.client_id,
            customer=found.customer if found is not None else None,
            name=found.customer_name or "" if found is not None else "",
            about=((one.kind, one.id), ("quickbooks_credit_memo", f"{realm_id}/{one.memo[1]}")),
        )
        if found is None:
            item.differences = (Difference("document", "there", _GONE),)
        elif found.void:
            item.differences = (Difference("void", "live", "void"),)
        elif found.unreadable is not None or found.amount != one.amount:
            ours = money(one.amount, one.currency)
            theirs = found.unreadable or money(found.amount, found.currency)
            item.differences = (Difference("total", ours, theirs),)
        elif one.date is not None and found.date != one.date:
            item.differences = (Difference("date", str(one.date), str(found.date)),)
        yield item, found


def offsets(
    books: Books, there: Mapping[Target, There], realm_id: str
) -> Iterator[tuple[Item, There | None]]:
    """An item for what offsets each void in a closed period; the PSA has no document for it."""
    for one in books.offsets.values():
        made, voided = there.get(one.made), there.get(one.voided)
        if made is None or made.void:
            continue  # the void itself is what differs then
        kind = "credit_note" if made.entity == "CreditMemo" else "invoice"
        subject = "quickbooks_credit_memo" if made.entity == "CreditMemo" else "quickbooks_invoice"
        item = Item(
            key=f"{one.kind}/{one.id}/offset",
            kind=kind,
            currency=made.currency,
            billing=Side(one.id, None, made.date, 0, legs=(Leg(0),)),
            quickbooks=side(made),
            target=one.made,
            customer=made.customer,
            name=made.customer_name or "",
            about=((one.kind, one.id), (subject, f"{realm_id}/{made.id}")),
        )
        if _nothing(voided, made):
            item.settle("accepted", f"offsets {one.kind} {one.id}, which was voided in a closed period")
        else:
            ours, theirs = money(0, made.currency), made.unreadable or money(made.amount, made.currency)
            item.differences = (Difference("total", ours, theirs),)
        yield item, made


def _offset(item: Item, form: Here, found: There | None, books: Books, there: Mapping[Target, There]) -> None:
    """A void whose document still stands in its closed period, and which another one offsets."""
    one = books.offsets.get(form.target) if form.target is not None and not form.live else None
    made = there.get(one.made) if one is not None else None
    if found is not None and made is not None and _nothing(found, made):
        item.differences = ()
        item.settle(
            "accepted",
            f"voided in the PSA when its period was closed; {made.entity} {made.number or made.id} of {made.date} "
            "offsets it, as somebody decided",
        )


def _nothing(voided: There | None, made: There) -> bool:
    """Whether a document and what offsets it come to nothing together."""
    if voided is None or voided.void or made.void or voided.unreadable or made.unreadable:
        return False
    same = (voided.customer, voided.currency) == (made.customer, made.currency)
    return same and voided.amount + made.amount == 0


def side(one: There) -> Side:
    """An object of QuickBooks as a side of an item."""
    return Side(one.id, one.number, one.date, one.amount, legs=(Leg(one.amount),), rate=one.rate)


def money(minor: int, currency: str) -> str:
    """An amount as people read it."""
    return f"{to_decimal(minor, currency)} {currency}"


def upwards(customer: str | None, parents: Mapping[str, str]) -> Iterator[str]:
    """A customer and those above it, the nearest first."""
    for _ in range(6):  # five levels, and an end should the data ever have a ring
        if customer is None:
            return
        yield customer
        customer = parents.get(customer)


def belongs(customer: str | None, to: Collection[str], parents: Mapping[str, str]) -> bool:
    """Whether a customer is one of these, or a sub-customer of one."""
    return any(one in to for one in upwards(customer, parents))


def _prepaid(form: Here) -> Item:
    item = _item(form, None, "")
    item.settle(
        "unapplied",
        "a prepayment invoice is not exported: what is paid on it is unapplied money in QuickBooks",
    )
    return item


def _compared(
    form: Here, found: There | None, books: Books, parents: Mapping[str, str], realm_id: str
) -> Item:
    if found is not None and form.currency is not None and found.currency != form.currency:
        item = _item(form, None, realm_id)  # what is there in another currency stands by itself
        item.differences = (Difference("currency", form.currency, found.currency),)
        return item
    item = _item(form, found, realm_id)
    if form.total is None or form.currency is None:
        item.billing = None
        item.settle("outside_scope", "linked, and the PSA never said what is on it")
    elif found is None:
        item.differences = (Difference("document", "there", _GONE),)
    elif found.unreadable is not None:
        item.differences = (Difference("figures", money(form.total, form.currency), found.unreadable),)
    elif form.live == found.void:
        item.differences = (Difference("void", *(("live", "void") if form.live else ("void", "live"))),)
    elif form.live:
        item.differences = tuple(_fields(form, found, books, parents))
    return item


def _fields(form: Here, found: There, books: Books, parents: Mapping[str, str]) -> Iterator[Difference]:
    assert form.total is not None
    assert form.currency is not None
    if found.amount != form.total:
        ours, theirs = money(form.total, form.currency), money(found.amount, found.currency)
        yield Difference("total", ours, theirs)
    if form.tax is not None and found.tax is not None and form.tax != found.tax:
        yield Difference("tax", money(form.tax, form.currency), money(found.tax, found.currency))
    if form.number and form.number.strip() != (found.number or "").strip():
        yield Difference("number", form.number, found.number)
    if form.date is not None and form.date != found.date:
        yield Difference("date", str(form.date), str(found.date))
    if form.linked_via == "export" and form.due and found.due and form.due != found.due:
        yield Difference("due date", str(form.due), str(found.due))
    customers = books.customers_of(form.client_id, form.profile, form.currency)
    if customers and not _on(form, found, customers, parents):
        yield Difference("customer", ", ".join(sorted(customers)), found.customer)


def _on(form: Here, found: There, customers: Collection[str], parents: Mapping[str, str]) -> bool:
    """What we exported is on the customer itself; history may be on a sub-customer."""
    if form.linked_via == "export":
        return found.customer in customers
    return belongs(found.customer, customers, parents)


def _same(form: Here, one: There, books: Books) -> bool:
    customers = books.customers_of(form.client_id, form.profile, form.currency or "")
    return (one.amount, one.currency, one.date) == (form.total, form.currency, form.date) and (
        not customers or one.customer in customers
    )


def _item(form: Here, found: There | None, realm_id: str) -> Item:
    amount = (form.total or 0) if form.live else 0
    about = [(form.kind, form.id)]
    target = found.target if found is not None else form.target
    if target is not None:
        subject = {"Invoice": "quickbooks_invoice", "CreditMemo": "quickbooks_credit_memo"}.get(target[0])
        about += [(subject, f"{realm_id}/{target[1]}")] if subject else []
    return Item(
        key=f"{form.kind}/{form.id}",
        kind=form.kind,
        currency=form.currency or (found.currency if found is not None else ""),
        billing=Side(form.id, form.number, form.date, amount, legs=(Leg(amount),), rate=form.rate),
        quickbooks=side(found) if found is not None else None,
        target=target,
        client_id=form.client_id,
        customer=found.customer if found is not None else None,
        name=form.client_name or (found.customer_name or "" if found is not None else ""),
        about=tuple(about),
    )
