"""The lists that documents refer to: customers, items, taxes, terms, classes, locations, accounts, methods.

List entities are never deleted, only made inactive.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/customer
"""

from __future__ import annotations

import datetime
from decimal import Decimal

from services.quickbooks.entities.base import (
    Address,
    EmailAddress,
    Entity,
    Part,
    Ref,
    TelephoneNumber,
    WebAddress,
)


class Named(Entity):
    """A list entry with a name. Absent `active` means active (the tax codes TAX and NON have none)."""

    name: str | None = None
    active: bool | None = None
    fully_qualified_name: str | None = None


class Customer(Entity):
    """A customer or, with `job` and `parent_ref`, a sub-customer.

    `display_name` is unique over customers, vendors and employees, inactive too. Its currency is for life.
    """

    display_name: str | None = None
    title: str | None = None
    given_name: str | None = None
    middle_name: str | None = None
    family_name: str | None = None
    suffix: str | None = None
    company_name: str | None = None
    print_on_check_name: str | None = None
    fully_qualified_name: str | None = None
    active: bool | None = None
    job: bool | None = None
    parent_ref: Ref | None = None
    bill_with_parent: bool | None = None
    level: int | None = None
    notes: str | None = None
    currency_ref: Ref | None = None
    balance: Decimal | None = None
    balance_with_jobs: Decimal | None = None
    primary_email_addr: EmailAddress | None = None
    primary_phone: TelephoneNumber | None = None
    mobile: TelephoneNumber | None = None
    web_addr: WebAddress | None = None
    bill_addr: Address | None = None
    ship_addr: Address | None = None
    taxable: bool | None = None
    tax_exemption_reason_id: str | None = None
    default_tax_code_ref: Ref | None = None
    sales_term_ref: Ref | None = None
    payment_method_ref: Ref | None = None
    preferred_delivery_method: str | None = None
    resale_num: str | None = None


class Item(Named):
    """What is sold: Service, NonInventory, Inventory, Group, or Category, which no line may name."""

    sku: str | None = None
    description: str | None = None
    type: str | None = None
    unit_price: Decimal | None = None
    taxable: bool | None = None
    sales_tax_included: bool | None = None
    sales_tax_code_ref: Ref | None = None
    income_account_ref: Ref | None = None
    expense_account_ref: Ref | None = None
    class_ref: Ref | None = None
    sub_item: bool | None = None
    parent_ref: Ref | None = None
    level: int | None = None
    track_qty_on_hand: bool | None = None


class TaxRateDetail(Part):
    """One rate of a tax code."""

    tax_rate_ref: Ref | None = None
    tax_type_applicable: str | None = None
    tax_order: int | None = None


class TaxRateList(Part):
    """The rates of a tax code."""

    tax_rate_detail: list[TaxRateDetail] | None = None


class TaxCode(Named):
    """A tax code: in the US also the two pseudo codes TAX and NON."""

    description: str | None = None
    taxable: bool | None = None
    tax_group: bool | None = None
    hidden: bool | None = None
    sales_tax_rate_list: TaxRateList | None = None
    purchase_tax_rate_list: TaxRateList | None = None


class EffectiveTaxRate(Part):
    """What a rate is in a span of time."""

    rate_value: Decimal | None = None
    effective_date: datetime.datetime | None = None
    end_date: datetime.datetime | None = None


class TaxRate(Named):
    """A tax rate; `rate_value` is a percentage."""

    description: str | None = None
    rate_value: Decimal | None = None
    agency_ref: Ref | None = None
    tax_return_line_ref: Ref | None = None
    special_tax_type: str | None = None
    display_type: str | None = None
    effective_tax_rate: list[EffectiveTaxRate] | None = None


class Term(Named):
    """A payment term: `due_days` after the date (Standard), or a day of the month (DateDriven)."""

    type: str | None = None
    due_days: int | None = None
    discount_days: int | None = None
    discount_percent: Decimal | None = None
    day_of_month_due: int | None = None
    due_next_month_days: int | None = None


class Class(Named):
    """A class, `fully_qualified_name` is `Parent:Child`."""

    sub_class: bool | None = None
    parent_ref: Ref | None = None


class Department(Named):
    """A location, as QuickBooks shows it."""

    sub_department: bool | None = None
    parent_ref: Ref | None = None


class Account(Named):
    """An account of the books."""

    acct_num: str | None = None
    description: str | None = None
    classification: str | None = None
    account_type: str | None = None
    account_sub_type: str | None = None
    sub_account: bool | None = None
    parent_ref: Ref | None = None
    currency_ref: Ref | None = None
    current_balance: Decimal | None = None


class PaymentMethod(Named):
    """How money was paid; the name has at most 15 characters."""

    type: str | None = None
