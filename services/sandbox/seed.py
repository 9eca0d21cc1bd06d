"""The books of a fresh company: what Intuit's own sandbox companies come with, for an IT service provider."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.sandbox import customers as customer_rules
from services.sandbox.amounts import ZERO
from services.sandbox.clock import Clock
from services.sandbox.fields import Obj
from services.sandbox.references import CURRENCY_NAMES
from services.sandbox.store import Company, Unit
from services.sandbox.switches import Switches

CURRENCIES = {"US": "USD", "GB": "GBP", "CA": "CAD", "AU": "AUD"}
ISO3 = {"US": "USA", "GB": "GBR", "CA": "CAN", "AU": "AUS"}
RATES_TO_USD = {
    "USD": Decimal(1),
    "EUR": Decimal("1.08"),
    "GBP": Decimal("1.27"),
    "CAD": Decimal("0.73"),
    "AUD": Decimal("0.65"),
    "JPY": Decimal("0.0067"),
}
# (id, name, type, subtype): Undeposited Funds has the id "4" in Intuit's own companies.
_ACCOUNTS = (
    ("1", "Services", "Income", "ServiceFeeIncome"),
    ("2", "Sales of Product Income", "Income", "SalesOfProductIncome"),
    ("3", "Discounts given", "Income", "DiscountsRefundsGiven"),
    ("4", "Undeposited Funds", "Other Current Asset", "UndepositedFunds"),
    ("5", "Checking", "Bank", "Checking"),
    ("6", "Savings", "Bank", "Savings"),
    ("7", "Accounts Receivable (A/R)", "Accounts Receivable", "AccountsReceivable"),
    ("8", "Bad Debts", "Expense", "BadDebts"),
    ("9", "Stripe Clearing", "Other Current Asset", "OtherCurrentAssets"),
    ("10", "Merchant Fees", "Expense", "BankCharges"),
    ("11", "Unapplied Cash Payment Income", "Income", "UnappliedCashPaymentIncome"),
)
_ITEMS = (
    ("1", "Services", "1", "0"),
    ("2", "Hours", "1", "125"),
    ("3", "Managed Services - Workstation", "1", "45"),
    ("4", "Managed Services - Server", "1", "150"),
    ("5", "Cloud Backup", "1", "35"),
    ("6", "Microsoft 365 Business Premium", "2", "22"),
    ("7", "Hardware", "2", "0"),
    ("8", "Discount", "3", "0"),
)
_TERMS = (
    ("1", "Due on receipt", 0),
    ("2", "Net 10", 10),
    ("3", "Net 15", 15),
    ("4", "Net 30", 30),
    ("5", "Net 60", 60),
)
_METHODS = (
    ("1", "Cash", "NON_CREDIT_CARD"),
    ("2", "Check", "NON_CREDIT_CARD"),
    ("3", "Visa", "CREDIT_CARD"),
    ("4", "MasterCard", "CREDIT_CARD"),
    ("5", "ACH", "NON_CREDIT_CARD"),
)
_CUSTOMERS = (
    ("Amy's Bird Sanctuary", "Birds@Intuit.com", "4581 Finch St.", "Bayshore", "CA", "94326"),
    ("Cool Cars", "Cool_Cars@intuit.com", "65 Ocean Dr.", "Half Moon Bay", "CA", "94213"),
    ("Diego Rodriguez", "Diego@Rodriguez.com", "321 Channing", "Palo Alto", "CA", "94303"),
    ("Dukes Basketball Camp", "Dukes_bball@intuit.com", "25 Court St.", "Tucson", "AZ", "85719"),
    ("Jeff's Jalopies", "Jalopies@intuit.com", "12 Willow Rd.", "Menlo Park", "CA", "94305"),
)
# (code id, name, rate id, percent): the codes of a country beside TAX and NON
_TAXES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "US": (("2", "California", "3", "8"), ("3", "Tucson", "4", "9.1")),
    "GB": (
        ("2", "20.0% S", "3", "20"),
        ("3", "5.0% R", "4", "5"),
        ("4", "0.0% Z", "5", "0"),
        ("5", "Exempt", "6", "0"),
    ),
    "CA": (
        ("2", "HST ON", "3", "13"),
        ("3", "GST", "4", "5"),
        ("4", "Zero-rated", "5", "0"),
        ("5", "Exempt", "6", "0"),
    ),
    "AU": (("2", "GST", "3", "10"), ("3", "GST free", "4", "0")),
}


def open_company(
    realm: str,
    name: str,
    country: str,
    clock: Clock,
    switches: Switches,
    *,
    multicurrency: bool = False,
    customers: bool = True,
) -> Company:
    """A company with accounts, items, terms, taxes and payment methods; raises `ValueError` for an unknown country."""
    if country not in CURRENCIES:
        raise ValueError(f"country {country!r} is not modelled; known: {', '.join(CURRENCIES)}")
    home = CURRENCIES[country]
    company = Company(realm, name or f"Sandbox Company {realm[-4:]}", country, home, clock, switches)
    company.exchange_rates = {code: (rate / RATES_TO_USD[home]) for code, rate in RATES_TO_USD.items()}
    unit = Unit(company, "seed")
    unit.put("CompanyInfo", _company_info(company))
    unit.put("Preferences", _preferences(company, multicurrency=multicurrency))
    for row in _lists(company, multicurrency=multicurrency):
        unit.put(*row)
    unit.commit()
    if customers:
        _add_customers(company)
    for entity, objects in company.objects.items():
        numbers = [int(key) for key in objects if key.isdigit()]
        if numbers and entity not in ("CompanyInfo", "Preferences"):
            company.last_ids[entity] = max(numbers)
    return company


def _company_info(company: Company) -> Obj:
    return {
        "Id": "1",
        "CompanyName": company.name,
        "LegalName": company.name,
        "CompanyAddr": {
            "Id": "1",
            "Line1": "123 Sierra Way",
            "City": "San Pablo",
            "Country": ISO3[company.country],
        },
        "Country": ISO3[company.country],
        "Email": {"Address": "noreply@quickbooks.com"},
        "FiscalYearStartMonth": "January",
        "SupportedLanguages": "en",
        "DefaultTimeZone": "America/Los_Angeles",
        "NameValue": [
            {"Name": "NeoEnabled", "Value": "true"},
            {"Name": "OfferingSku", "Value": f"QuickBooks Online {company.plan}"},
            {"Name": "SubscriptionStatus", "Value": "PAID"},
            {"Name": "CompanyType", "Value": "Other"},
        ],
    }


def _preferences(company: Company, *, multicurrency: bool) -> Obj:
    return {
        "Id": "1",
        "AccountingInfoPrefs": {
            "FirstMonthOfFiscalYear": "January",
            "UseAccountNumbers": False,
            "TrackDepartments": True,
            "DepartmentTerminology": "Location",
            "ClassTrackingPerTxn": False,
            "ClassTrackingPerTxnLine": True,
            "CustomerTerminology": "Customers",
        },
        "SalesFormsPrefs": {
            "CustomTxnNumbers": True,
            "AutoApplyCredit": False,
            "AutoApplyPayments": False,
            "AllowDiscount": True,
            "DefaultDiscountAccount": "3",
            "AllowServiceDate": True,
            "AllowDeposit": False,
            "AllowEstimates": True,
            "AllowShipping": False,
            "ETransactionPaymentEnabled": False,
            "DefaultTerms": {"value": "4"},
        },
        "CurrencyPrefs": {
            "MultiCurrencyEnabled": multicurrency,
            "HomeCurrency": {"value": company.currency},
        },
        "TaxPrefs": {"UsingSalesTax": True, "PartnerTaxEnabled": False},
        "EmailMessagesPrefs": {"InvoiceMessage": {"Subject": f"Invoice from {company.name}"}},
        "OtherPrefs": {"NameValue": [{"Name": "SalesFormsPrefs.DefaultCustomerMessage", "Value": ""}]},
    }


def _lists(company: Company, *, multicurrency: bool) -> list[tuple[str, Obj]]:
    home = {"value": company.currency, "name": CURRENCY_NAMES[company.currency]}
    rows: list[tuple[str, Obj]] = []
    accounts = list(_ACCOUNTS)
    for key, name, kind, subtype in accounts:
        rows.append(("Account", _account(key, name, kind, subtype, home)))
    if multicurrency:
        euro = {"value": "EUR", "name": CURRENCY_NAMES["EUR"]}
        rows.append(("Account", _account("12", "Checking EUR", "Bank", "Checking", euro)))
    for key, name, account, price in _ITEMS:
        income = {"value": account, "name": _ACCOUNTS[int(account) - 1][1]}
        item: Obj = _named(key, name, FullyQualifiedName=name, Type="Service", Description=name)
        item |= {"Taxable": account == "2", "UnitPrice": Decimal(price), "IncomeAccountRef": income}
        rows.append(("Item", item))
    rows.append(
        ("Item", _named("9", "Managed Services", FullyQualifiedName="Managed Services", Type="Category"))
    )
    for key, name, days in _TERMS:
        rows.append(
            ("Term", _named(key, name, Type="STANDARD", DueDays=days, DiscountPercent=0, DiscountDays=0))
        )
    rows.append(
        ("Term", _named("6", "15th of the month", Type="DATE_DRIVEN", DayOfMonthDue=15, DueNextMonthDays=5))
    )
    for key, name, kind in _METHODS:
        rows.append(("PaymentMethod", _named(key, name, Type=kind)))
    for key, name in (("1", "Managed"), ("2", "Project")):
        rows.append(("Class", _named(key, name, FullyQualifiedName=name, SubClass=False)))
    for key, name in (("1", "Head Office"), ("2", "Field")):
        rows.append(("Department", _named(key, name, FullyQualifiedName=name, SubDepartment=False)))
    rows.extend(_tax_rows(company.country))
    return rows


def _tax_rows(country: str) -> list[tuple[str, Obj]]:
    rows: list[tuple[str, Obj]] = []
    if country == "US":
        # The pseudo codes of lines; they have no Active field.
        for key, taxable in (("TAX", True), ("NON", False)):
            code = {"Id": key, "Name": key, "Description": key, "Taxable": taxable, "TaxGroup": False}
            rows.append(("TaxCode", code))
    for code_id, name, rate_id, percent in _TAXES[country]:
        rate = {"RateValue": Decimal(percent), "SpecialTaxType": "NONE", "DisplayType": "ReadOnly"}
        rows.append(("TaxRate", _named(rate_id, name, Description=name, AgencyRef={"value": "1"}, **rate)))
        detail = {
            "TaxRateRef": {"value": rate_id, "name": name},
            "TaxTypeApplicable": "TaxOnAmount",
            "TaxOrder": 0,
        }
        code = _named(code_id, name, Description=name, Taxable=True, TaxGroup=True)
        code |= {
            "SalesTaxRateList": {"TaxRateDetail": [detail]},
            "PurchaseTaxRateList": {"TaxRateDetail": []},
        }
        rows.append(("TaxCode", code))
    return rows


def _add_customers(company: Company) -> None:
    unit = Unit(company, "seed")
    for name, email, street, city, state, postal_code in _CUSTOMERS:
        address = {"Line1": street, "City": city, "CountrySubDivisionCode": state, "PostalCode": postal_code}
        row: Obj = {"DisplayName": name, "CompanyName": name, "BillAddr": address, "ShipAddr": address}
        customer_rules.save(unit, row | {"PrimaryEmailAddr": {"Address": email}}, None)
    unit.commit()


def _account(key: str, name: str, kind: str, subtype: str, currency: Obj) -> Obj:
    asset = kind in ("Bank", "Accounts Receivable", "Other Current Asset")
    classification = "Asset" if asset else "Revenue" if kind == "Income" else "Expense"
    return _named(
        key,
        name,
        FullyQualifiedName=name,
        AccountType=kind,
        AccountSubType=subtype,
        Classification=classification,
        SubAccount=False,
        CurrentBalance=ZERO,
        CurrentBalanceWithSubAccounts=ZERO,
        CurrencyRef=currency,
    )


def _named(key: str, name: str, **values: Any) -> Obj:
    return {"Id": key, "Name": name, "Active": True, **values}
