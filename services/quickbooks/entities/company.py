"""The company itself: who it is, and the preferences that change how documents must be written.

https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/preferences
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/companyinfo
"""

from __future__ import annotations

import datetime

from services.quickbooks.entities.base import (
    Address,
    EmailAddress,
    Entity,
    NameValue,
    Part,
    Ref,
    TelephoneNumber,
    WebAddress,
)


class CompanyInfo(Entity):
    """The company's names, address and country (since 2025 in three letters)."""

    company_name: str | None = None
    legal_name: str | None = None
    company_addr: Address | None = None
    legal_addr: Address | None = None
    email: EmailAddress | None = None
    primary_phone: TelephoneNumber | None = None
    web_addr: WebAddress | None = None
    country: str | None = None
    company_start_date: datetime.date | None = None
    fiscal_year_start_month: str | None = None
    supported_languages: str | None = None
    default_time_zone: str | None = None
    name_value: list[NameValue] | None = None

    @property
    def named(self) -> dict[str, str]:
        """The open list as a mapping: SubscriptionStatus, OfferingSku and others."""
        return {v.name: v.value for v in self.name_value or () if v.name and v.value is not None}


class SalesFormsPrefs(Part):
    """How sales documents behave: numbers, automatic application of credits and payments, discounts."""

    custom_txn_numbers: bool | None = None
    auto_apply_credit: bool | None = None
    auto_apply_payments: bool | None = None
    allow_discount: bool | None = None
    default_discount_account: str | None = None
    allow_service_date: bool | None = None
    allow_deposit: bool | None = None
    allow_shipping: bool | None = None
    allow_estimates: bool | None = None
    default_terms: Ref | None = None


class AccountingInfoPrefs(Part):
    """What is tracked, and until when the books are closed (`book_close_date`, inclusive)."""

    track_departments: bool | None = None
    department_terminology: str | None = None
    class_tracking_per_txn: bool | None = None
    class_tracking_per_txn_line: bool | None = None
    customer_terminology: str | None = None
    first_month_of_fiscal_year: str | None = None
    book_close_date: datetime.date | None = None


class CurrencyPrefs(Part):
    """The home currency, and whether documents may have another."""

    multi_currency_enabled: bool | None = None
    home_currency: Ref | None = None


class TaxPrefs(Part):
    """Whether sales tax is on, and (`partner_tax_enabled`) computed by QuickBooks itself."""

    using_sales_tax: bool | None = None
    partner_tax_enabled: bool | None = None
    tax_group_code_ref: Ref | None = None


class OtherPrefs(Part):
    """Settings without a place of their own."""

    name_value: list[NameValue] | None = None


class Preferences(Entity):
    """The company's settings, one object."""

    sales_forms_prefs: SalesFormsPrefs | None = None
    accounting_info_prefs: AccountingInfoPrefs | None = None
    currency_prefs: CurrencyPrefs | None = None
    tax_prefs: TaxPrefs | None = None
    other_prefs: OtherPrefs | None = None
