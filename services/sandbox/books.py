"""What can be done to a company's objects: create, update, void, delete, read - dispatched by entity."""

from __future__ import annotations

from decimal import Decimal

from services.sandbox import (
    creditmemos,
    customers,
    faults,
    invoices,
    journalentries,
    lists,
    payments,
    purchases,
    refunds,
)
from services.sandbox.amounts import ZERO
from services.sandbox.entities import Entity
from services.sandbox.fields import Obj, checked, clone, read_only
from services.sandbox.links import entity_of
from services.sandbox.schemas import INVOICE
from services.sandbox.store import Company, Unit

KEPT_BY_QUICKBOOKS = (read_only, INVOICE["LinkedTxn"])
TAXED_BY = frozenset(("Line", "GlobalTaxCalculation", "ApplyTaxAfterDiscount"))
VOIDED_IN_BROWSER = ("CreditMemo", "RefundReceipt")


def save(unit: Unit, entity: Entity, body: Obj, *, allow_duplicate: bool = False) -> Obj:
    """Create (no Id) or update (full or sparse). Raises `Refusal`; nothing is kept unless `unit` is committed."""
    if not entity.writable:
        if unit.browser:
            return _save_freely(unit, entity, body)
        raise faults.NotModelled(f"writing {entity.name} through the API")
    document = checked(entity.fields, body)
    sparse = document.pop("sparse", False)
    old = None
    if "Id" in document:
        old = current(unit, entity, document)
        del document["SyncToken"]
        if sparse:
            _guard_sparse(unit, entity, document)
            document = {**_kept(old, document), **document}
        else:
            # A full update empties every writable field that was left out.
            kept = {name: clone(old[name]) for name in old if entity.fields.get(name) in KEPT_BY_QUICKBOOKS}
            document = {**kept, **document}
    name = entity.name
    if name == "Invoice":
        return invoices.save(unit, document, old, allow_duplicate=allow_duplicate)
    if name == "CreditMemo":
        return creditmemos.save(unit, document, old, allow_duplicate=allow_duplicate)
    if name == "RefundReceipt":
        return refunds.save(unit, document, old, allow_duplicate=allow_duplicate)
    if name == "Payment":
        return payments.save(unit, document, old)
    if name == "JournalEntry":
        return journalentries.save(unit, document, old)
    if name == "Purchase":
        return purchases.save(unit, document, old)
    if name == "Customer":
        return customers.save(unit, document, old)
    return lists.save(unit, name, document, old)


def _kept(old: Obj, sent: Obj) -> Obj:
    """What a sparse update leaves as it is; of a tax computed on other lines only the code."""
    kept: Obj = clone(old)
    if "TxnTaxDetail" in kept and not TAXED_BY.isdisjoint(sent):
        detail = kept["TxnTaxDetail"]
        kept["TxnTaxDetail"] = {name: detail[name] for name in ("TxnTaxCodeRef",) if name in detail}
    return kept


def _guard_sparse(unit: Unit, entity: Entity, document: Obj) -> None:
    """A sparse payment must still name its customer and its total (seen live)."""
    if entity.name == "Payment" and not unit.browser:
        for name in ("CustomerRef", "TotalAmt"):
            if name not in document:
                raise faults.required(name)


def _save_freely(unit: Unit, entity: Entity, body: Obj) -> Obj:
    """What only the browser writes (tax codes, company info, vendors): taken as it is."""
    old = unit.get(entity.name, str(body["Id"])) if "Id" in body else None
    if old is None:
        body = {"Active": True, **body, "Id": unit.company.next_id(entity.name)}
    return unit.put(entity.name, {**(old or {}), **body})


def delete(unit: Unit, entity: Entity, body: Obj) -> Obj:
    """Delete a transaction; the reply is the short form with `status: Deleted`."""
    if not entity.deletable:
        raise faults.unsupported("delete")
    old = current(unit, entity, body)
    if entity.name == "Invoice":
        invoices.delete(unit, old)
    elif entity.name == "CreditMemo":
        creditmemos.delete(unit, old)
    elif entity.name == "RefundReceipt":
        refunds.delete(unit, old)
    elif entity.name == "Payment":
        payments.delete(unit, old)
    elif entity.name == "Purchase":
        purchases.delete(unit, old)
    else:
        journalentries.delete(unit, old)
    return {"domain": "QBO", "status": "Deleted", "Id": old["Id"]}


def void(unit: Unit, entity: Entity, body: Obj) -> Obj:
    """Void a transaction; credit memos and refund receipts only in the browser."""
    if not entity.voidable and not (unit.browser and entity.name in VOIDED_IN_BROWSER):
        raise faults.unsupported("void")
    old = current(unit, entity, body)
    if entity.name == "Invoice":
        result = invoices.void(unit, old)
    elif entity.name == "Payment":
        needs_all = unit.company.switches.payment_void_needs_full_object and not unit.browser
        if needs_all and ("CustomerRef" not in body or "TotalAmt" not in body):
            raise faults.required("CustomerRef" if "CustomerRef" not in body else "TotalAmt")
        result = payments.void(unit, old)
    elif entity.name == "CreditMemo":
        result = creditmemos.void(unit, old)
    else:
        result = refunds.void(unit, old)
    if unit.company.switches.void_reply_shows_old_amounts and not unit.browser:
        return {**old, "PrivateNote": result["PrivateNote"]}
    return result


def current(unit: Unit, entity: Entity, body: Obj) -> Obj:
    """The object that a write names by Id, at the SyncToken it names."""
    key = body.get("Id")
    if not key:
        raise faults.required("Id")
    old = unit.get(entity.name, str(key))
    if old is None:
        raise faults.not_found(entity.name, str(key)) if str(key).isdigit() else faults.invalid_id(key)
    token = body.get("SyncToken")
    if token is None:
        raise faults.required("SyncToken")
    if str(token) != old["SyncToken"]:
        raise faults.stale()
    return old


def read(company: Company, entity: Entity, key: str) -> Obj:
    """One object as a reader sees it; 610 when there is none (deleted ones included)."""
    if not key.isdigit() and not (entity.name == "TaxCode" and key in ("TAX", "NON")):
        raise faults.invalid_id(key)
    found = company.find(entity.name, key)
    if found is None:
        raise faults.not_found(entity.name, key)
    return shown(company, entity.name, found)


def shown(company: Company, entity: str, body: Obj) -> Obj:
    """The reader's view: balances of customers, open balances and numbers beside payment lines."""
    if entity == "Customer":
        balance = company.balances[body["Id"]]
        return {**body, "Balance": balance, "BalanceWithJobs": balance + _of_jobs(company, body["Id"])}
    if entity == "Payment" and body["Line"]:
        return {**body, "Line": [_with_extra(company, line) for line in body["Line"]]}
    return body


def _of_jobs(company: Company, customer: str) -> Decimal:
    total = ZERO
    for child in company.children(customer):
        total += company.balances[child] + _of_jobs(company, child)
    return total


def _with_extra(company: Company, line: Obj) -> Obj:
    link = line["LinkedTxn"][0]
    values = {"txnId": link["TxnId"]}
    document = company.find(entity_of(link["TxnType"]), link["TxnId"])
    if document is not None and "Balance" in document:
        values["txnOpenBalance"] = format(document["Balance"] + line["Amount"], "f")
        if "DocNumber" in document:
            values["txnReferenceNumber"] = document["DocNumber"]
    extra = [
        {
            "name": "{http://schema.intuit.com/finance/v3}NameValue",
            "declaredType": "com.intuit.schema.finance.v3.NameValue",
            "scope": "javax.xml.bind.JAXBElement$GlobalScope",
            "value": {"Name": name, "Value": value},
            "nil": False,
            "globalScope": True,
            "typeSubstituted": False,
        }
        for name, value in values.items()
    ]
    return {**line, "LineEx": {"any": extra}}
