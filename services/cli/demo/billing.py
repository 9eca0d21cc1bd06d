"""Realistic billing data of a managed service provider, the same for the same seed.

Prorated contracts, licences by the seat, hours, discounts, tax by city, names with accents and apostrophes, and a
client billed in a currency without decimals.
"""

from __future__ import annotations

import calendar
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from messages.money import round_half_up, to_minor

TENANT = "demo"


@dataclass(frozen=True, slots=True)
class Service:
    """Something the provider sells."""

    service_id: str
    name: str
    price: str  # in the client's currency, before tax
    taxable: bool


@dataclass(frozen=True, slots=True)
class Client:
    """Who is billed; `region` is the PSA's tax region, `rate` its percentage."""

    client_id: str
    name: str
    email: str
    currency: str = "USD"
    region: str | None = None
    rate: str = "0"
    factor: int = 1  # price level of the currency: a yen price is about a hundred times a dollar price
    exchange_rate: str | None = None  # home units for one unit of the client's currency


SERVICES = (
    Service("svc-managed", "Managed workstation", "84.50", True),
    Service("svc-m365", "Microsoft 365 Business Premium", "22.00", True),
    Service("svc-backup", "Off-site backup, per GB", "0.0475", True),
    Service("svc-hours", "Remote support, hours", "142.50", False),
    Service("svc-firewall", "Firewall rental", "59.95", True),
)
UNMAPPED = Service("svc-pentest", "Penetration test", "1850.00", False)
"""The service that nobody mapped yet: its invoice fails, and the demonstration mends it."""

CLIENTS = (
    Client("cl-001", "O'Brien & Sons Plumbing", "books@obrien.example", region="WA-SEA", rate="10.35"),
    Client("cl-002", "Café Zoë GmbH", "rechnung@cafe-zoe.example"),
    Client("cl-003", "Nguyễn Dental Group", "office@nguyen-dental.example", region="WA-SEA", rate="10.35"),
    Client("cl-004", "Blue Harbor Logistics, Inc.", "ap@blueharbor.example"),
    Client(
        "cl-005",
        "東京支店 Sakura K.K.",
        "keiri@sakura.example",
        currency="JPY",
        factor=150,
        exchange_rate="0.0066",
    ),
    Client("cl-006", 'L’Étoile "Bistro" <Main St.>', "contact@etoile.example"),
)


def invoices(count: int, seed: int, today: date, *, first: int = 1) -> Iterator[dict[str, Any]]:
    """Data of `invoice.finalized.v1` events, numbered from `first`; the third names the service that is not mapped."""
    dice = random.Random(seed)  # noqa: S311 - sample data
    for index in range(count):
        client = CLIENTS[index % len(CLIENTS)]
        yield _invoice(index, first + index, client, dice, today, surprise=index == 2)


def _invoice(
    index: int, number_: int, client: Client, dice: random.Random, today: date, *, surprise: bool
) -> dict[str, Any]:
    first = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    lines = [
        _line(position, client, service, dice, first)
        for position, service in enumerate(dice.sample(SERVICES, k=dice.randint(2, 5)), start=1)
    ]
    if surprise:
        lines.append(_line(len(lines) + 1, client, UNMAPPED, dice, first))
    if index % 3 == 1:
        lines.append(_discount(len(lines) + 1, client, lines[0]))
    net = sum(line["net_amount"] for line in lines)
    tax = sum(line["tax_amount"] for line in lines)
    discount = -sum(line["net_amount"] for line in lines if line["is_discount"])
    number = f"INV-{today:%y}-{number_:05d}"
    data = {
        "id": f"{number.lower()}-{client.client_id}",
        "number": number,
        "type": "standard",
        "invoice_date": today.isoformat(),
        "due_date": (today + timedelta(days=30)).isoformat(),
        "finalized_at": datetime.combine(today, datetime.min.time(), UTC).isoformat(),
        "currency": client.currency,
        "terms": "net_30",
        "po_number": f"PO-{4000 + number_}" if index % 4 == 0 else None,
        "tax_source": "internal",
        "subtotal": net + discount,
        "discount": discount,
        "tax": tax,
        "total": net + tax,
        "client": {
            "id": client.client_id,
            "name": client.name,
            "billing_email": client.email,
            "tax_exempt": client.rate == "0",
        },
        "lines": lines,
        "actor": {"type": "user", "id": "u-1", "name": "Robin"},
    }
    if client.exchange_rate is not None:
        data |= {"exchange_rate": client.exchange_rate, "exchange_rate_date": today.isoformat()}
    return {name: value for name, value in data.items() if value is not None}


def _line(
    position: int, client: Client, service: Service, dice: random.Random, first: date
) -> dict[str, Any]:
    days = calendar.monthrange(first.year, first.month)[1]
    start = dice.choice([1, 1, 1, dice.randint(2, days)])  # some contracts began within the month
    price = Decimal(service.price) * client.factor
    quantity = Decimal(
        dice.choice(["1", "3", "7.5", "12", "0.25", "1250"] if price < 1 else ["1", "2", "5", "7.25"])
    )
    full = quantity * price
    share = Decimal(days - start + 1) / days
    net = to_minor(round_half_up(full * share, 10), client.currency)
    tax = round_half_up(net * Decimal(client.rate) / 100, 0) if service.taxable else Decimal(0)
    period = f"{first.replace(day=start):%b %-d} - {first.replace(day=days):%b %-d, %Y}"
    line = {
        "id": f"l{position}",
        "service_id": service.service_id,
        "description": f"{service.name} ({period})",
        "quantity": format(quantity, "f"),
        "unit_price": format(price.normalize(), "f"),
        "net_amount": net,
        "tax_amount": int(tax),
        "is_taxable": service.taxable and client.rate != "0",
        "is_discount": False,
        "service_period_start": first.replace(day=start).isoformat(),
        "service_period_end": first.replace(day=days).isoformat(),
    }
    if tax:
        line |= {"tax_region": client.region, "tax_rate": client.rate}
    return line


def _discount(position: int, client: Client, base: dict[str, Any]) -> dict[str, Any]:
    """Ten percent off the first line, with that line's tax."""
    net = -int(round_half_up(Decimal(base["net_amount"]) / 10, 0))
    tax = -int(round_half_up(Decimal(base["tax_amount"]) / 10, 0))
    line = {
        "id": f"l{position}",
        "description": "Loyalty discount 10 %",
        "quantity": "1",
        "unit_price": format((Decimal(net) / (1 if client.currency == "JPY" else 100)).normalize(), "f"),
        "net_amount": net,
        "tax_amount": tax,
        "is_taxable": base["is_taxable"],
        "is_discount": True,
        "applies_to": base["id"],
    }
    if tax:
        line |= {"tax_region": client.region, "tax_rate": client.rate}
    return line
