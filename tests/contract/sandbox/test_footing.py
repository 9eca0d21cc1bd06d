"""The books foot after any day of work: balances, links, unapplied money and receivables agree to the cent.

Source: double-entry bookkeeping, and https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/payment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.sandbox import bookkeeper
from services.sandbox.faults import Refusal
from services.sandbox.settings import CompanySpec, Settings
from services.sandbox.store import Company
from services.sandbox.world import World
from tests.contract.sandbox.books import invoice_body, link, sales_line

CUSTOMERS = ("1", "2", "3")


def decimals(value: Any) -> Any:
    """Bodies with decimals only, as the API reads them."""
    if isinstance(value, dict):
        return {name: decimals(part) for name, part in value.items()}
    if isinstance(value, list):
        return [decimals(part) for part in value]
    return Decimal(value) if type(value) is int else value


def a_day(company: Company, chance: Random, steps: int) -> None:
    """Random work; what the books refuse is skipped."""
    for _ in range(steps):
        action = chance.choice(
            (_enter, _enter, _receive, _receive, _apply, _apply, _edit, _void, _delete, _deposit, _merge)
        )
        try:
            action(company, chance)
        except (Refusal, IndexError):
            continue


def _amount(chance: Random) -> str:
    return str(Decimal(chance.randrange(1, 20_000)) / 100)


def _pick(company: Company, entity: str, chance: Random) -> dict[str, Any]:
    return chance.choice(list(company.all(entity)))


def _enter(company: Company, chance: Random) -> None:
    body = invoice_body(_amount(chance), CustomerRef={"value": chance.choice(CUSTOMERS)})
    bookkeeper.create(company, chance.choice(("Invoice", "Invoice", "CreditMemo")), decimals(body))


def _receive(company: Company, chance: Random) -> None:
    rows = [_pick(company, "Invoice", chance) for _ in range(chance.randrange(3))]
    shares = {row["Id"]: Decimal(_amount(chance)) for row in rows}
    customer = rows[0]["CustomerRef"]["value"] if rows else chance.choice(CUSTOMERS)
    bookkeeper.receive_payment(company, customer, Decimal(_amount(chance)), shares, {})


def _apply(company: Company, chance: Random) -> None:
    invoice, memo = _pick(company, "Invoice", chance), _pick(company, "CreditMemo", chance)
    amount = min(invoice["Balance"], memo["RemainingCredit"], Decimal(_amount(chance)))
    bookkeeper.apply_credit(company, memo["Id"], invoice["Id"], amount)


def _edit(company: Company, chance: Random) -> None:
    entity = chance.choice(("Invoice", "CreditMemo", "Payment"))
    row = _pick(company, entity, chance)
    if entity == "Payment":
        target = _pick(company, "Invoice", chance)
        changes = {
            "TotalAmt": Decimal(_amount(chance)),
            "Line": [link("Invoice", target["Id"], _amount(chance))],
        }
    else:
        changes = {"Line": [sales_line(_amount(chance))]}
    bookkeeper.edit(company, entity, row["Id"], decimals(changes))


def _void(company: Company, chance: Random) -> None:
    entity = chance.choice(("Invoice", "CreditMemo", "Payment"))
    bookkeeper.void(company, entity, _pick(company, entity, chance)["Id"])


def _delete(company: Company, chance: Random) -> None:
    entity = chance.choice(("Invoice", "CreditMemo", "Payment"))
    bookkeeper.delete(company, entity, _pick(company, entity, chance)["Id"])


def _deposit(company: Company, chance: Random) -> None:
    bookkeeper.make_deposit(company, [_pick(company, "Payment", chance)["Id"]], "5")


def _merge(company: Company, chance: Random) -> None:
    if chance.random() < 0.1:
        bookkeeper.merge_customers(company, *chance.sample(CUSTOMERS, 2))


def settled(payments: Iterable[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """What payments put on each document."""
    found: Counter[tuple[str, str]] = Counter()
    for payment in payments:
        for line in payment["Line"]:
            target = line["LinkedTxn"][0]
            found[target["TxnType"], target["TxnId"]] += line["Amount"]
    return found


def _has_line(key: str, payment: dict[str, Any]) -> bool:
    return any(line["LinkedTxn"][0] == {"TxnId": key, "TxnType": "Invoice"} for line in payment["Line"])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 200), auto_apply=st.booleans())
def test_any_day_of_work_leaves_books_that_foot(seed: int, steps: int, auto_apply: bool) -> None:
    """Balance = total - settled, never negative; links both ways; money in = money used + unapplied; A/R adds up.

    [ours]
    """
    company = World(Settings(companies=(CompanySpec("1"),))).companies["1"]
    bookkeeper.set_preferences(company, {"SalesFormsPrefs": {"AutoApplyCredit": auto_apply}})
    a_day(company, Random(seed), steps)
    on = settled(company.all("Payment"))
    assert all(company.find(kind, key) for kind, key in on)
    for invoice in company.all("Invoice"):
        assert invoice["Balance"] == invoice["TotalAmt"] - on["Invoice", invoice["Id"]] >= 0
        linked = {
            payment["Id"] for payment in filter(partial(_has_line, invoice["Id"]), company.all("Payment"))
        }
        assert {row["TxnId"] for row in invoice["LinkedTxn"]} == linked
    for memo in company.all("CreditMemo"):
        assert memo["RemainingCredit"] == memo["TotalAmt"] - on["CreditMemo", memo["Id"]] >= 0
    for payment in company.all("Payment"):
        own = settled([payment])
        needed = sum(-amount if kind == "CreditMemo" else amount for (kind, _), amount in own.items())
        assert payment["UnappliedAmt"] == payment["TotalAmt"] - needed >= 0
    totals = {
        name: sum(row["TotalAmt"] for row in company.all(name))
        for name in ("Invoice", "CreditMemo", "Payment")
    }
    assert sum(company.balances.values()) == totals["Invoice"] - totals["CreditMemo"] - totals["Payment"]
