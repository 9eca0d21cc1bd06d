"""Customers: one set of names with inactive ones in it, sub-customers, one currency for ever, merge."""

from __future__ import annotations

from services.sandbox import faults
from services.sandbox.fields import Obj, clone
from services.sandbox.references import home_or_foreign, resolve
from services.sandbox.store import DELETED, Company, Unit, folded
from services.sandbox.trees import children, full_name, parent_of

_NAME_PARTS = ("Title", "GivenName", "MiddleName", "FamilyName", "Suffix")


def save(unit: Unit, customer: Obj, old: Obj | None) -> Obj:
    """Create or change a customer; `Active: false` is how QuickBooks deletes one."""
    company = unit.company
    _name(company, customer, old)
    parent = _parent(unit, customer)
    customer["FullyQualifiedName"] = full_name(parent, customer["DisplayName"])
    customer["Level"] = (parent["Level"] + 1) if parent else 0
    _currency(company, customer, old)
    resolve(unit, customer, "SalesTermRef", "Term", named=False)
    resolve(unit, customer, "PaymentMethodRef", "PaymentMethod", named=False)
    resolve(unit, customer, "DefaultTaxCodeRef", "TaxCode", named=False)
    customer.setdefault("Active", True)
    customer.setdefault("Job", False)
    customer.setdefault("BillWithParent", False)
    customer.setdefault("Taxable", False)
    customer.setdefault("PrintOnCheckName", customer.get("CompanyName") or customer["DisplayName"])
    customer.setdefault("PreferredDeliveryMethod", "None")
    if old is None:
        customer["Id"] = company.next_id("Customer")
    elif old["Active"] and not customer["Active"]:
        _inactivate(company, customer)
    unit.put("Customer", customer)
    if old is not None and old["FullyQualifiedName"] != customer["FullyQualifiedName"]:
        _spread_name(unit, customer)
    return customer


def merge(unit: Unit, loser: Obj, survivor: Obj) -> None:
    """The bookkeeper's merge: the loser's id vanishes, everything of it belongs to the survivor."""
    company = unit.company
    if loser["Id"] == survivor["Id"]:
        raise faults.business("A customer cannot be merged with itself.")
    if loser["CurrencyRef"]["value"] != survivor["CurrencyRef"]["value"]:
        raise faults.business("Customers with different currencies cannot be merged.")
    if company.children(loser["Id"]):
        raise faults.business("A customer with sub-customers cannot be merged; move or merge those first.")
    reference = {"value": survivor["Id"], "name": survivor["FullyQualifiedName"]}
    for entity, key in company.by_customer.get(loser["Id"], set()).copy():
        document = unit.get(entity, key)
        if document is None:
            continue
        if entity == "JournalEntry":
            document = clone(document)
            for line in document["Line"]:
                holder = line["JournalEntryLineDetail"].get("Entity")
                if holder and holder["EntityRef"]["value"] == loser["Id"]:
                    holder["EntityRef"] = reference
        elif entity == "Purchase":
            document = {**document, "EntityRef": {**reference, "type": "Customer"}}
        else:
            document = {**document, "CustomerRef": reference}
        unit.put(entity, document)
    unit.drop("Customer", loser["Id"], "Merge")
    unit.merged["Customer", loser["Id"]] = survivor["Id"]
    unit.put("Customer", clone(survivor))


def _name(company: Company, customer: Obj, old: Obj | None) -> None:
    name = customer.get("DisplayName") or " ".join(
        customer[part] for part in _NAME_PARTS if customer.get(part)
    )
    name = name.strip()
    if not name:
        raise faults.required("DisplayName")
    if any(character in name for character in ":\t\n\r"):
        raise faults.invalid_string("DisplayName", "a colon, a tab or a new line cannot stand in a name")
    customer["DisplayName"] = name
    holder = company.names.get(folded(name.removesuffix(DELETED)))
    if holder is not None and (old is None or holder != ("Customer", old["Id"])):
        raise faults.duplicate_name()


def _parent(unit: Unit, customer: Obj) -> Obj | None:
    if "ParentRef" not in customer:
        if customer.get("Job"):
            raise faults.required("ParentRef")
        return None
    if not customer.get("Job"):
        raise faults.NotModelled("Customer.ParentRef without Job: true")
    return parent_of(unit, "Customer", customer)


def _currency(company: Company, customer: Obj, old: Obj | None) -> None:
    given = customer.get("CurrencyRef", {}).get("value")
    before = old["CurrencyRef"]["value"] if old else None
    code = given or before or company.currency
    customer["CurrencyRef"] = home_or_foreign(company, code)
    if before not in (None, code) and old is not None and company.by_customer.get(old["Id"]):
        raise faults.business(
            "The currency of a customer with transactions cannot be changed.", element="CurrencyRef"
        )


def _inactivate(company: Company, customer: Obj) -> None:
    if company.balances[customer["Id"]]:
        raise faults.Refusal(
            "6220", "Cannot delete a name with a balance", "The customer has an open balance.", "Active"
        )
    if company.switches.inactive_name_suffix and not customer["DisplayName"].endswith(DELETED):
        customer["DisplayName"] += DELETED
        customer["FullyQualifiedName"] += DELETED


def _spread_name(unit: Unit, customer: Obj) -> None:
    """A new name or place shows on the customer's transactions and at its sub-customers."""
    reference = {"value": customer["Id"], "name": customer["FullyQualifiedName"]}
    for entity, key in unit.company.by_customer.get(customer["Id"], set()):
        document = unit.get(entity, key)
        if document is not None and "CustomerRef" in document:
            unit.relabel(entity, {**document, "CustomerRef": reference})
    for child in children(unit.company, "Customer", customer["Id"]):
        name = full_name(customer, child["DisplayName"])
        renamed = {**child, "FullyQualifiedName": name, "Level": customer["Level"] + 1}
        unit.relabel("Customer", renamed)
        _spread_name(unit, renamed)
