"""Connecting and mapping the demonstration's company, through the same HTTP API and pages that a PSA uses."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, cast

import requests

from services.cli.demo.billing import CLIENTS, SERVICES, Client
from services.cli.demo.browser import Browser
from services.quickbooks import query as query_

REALM = "9341450000000003"  # the sandbox company that keeps several currencies
APP = {"client_id": "demo-intuit-app", "client_secret": "demo-intuit-secret"}
BOOKKEEPER = "demo-bookkeeper-app"
TIMEOUT = 30  # seconds
PACE = 0.12  # seconds between two calls: ten a second are allowed

# What each service is sold as in the books of a fresh sandbox company.
_ITEMS = {
    "svc-managed": "Managed Services - Workstation",
    "svc-m365": "Microsoft 365 Business Premium",
    "svc-backup": "Cloud Backup",
    "svc-hours": "Hours",
    "svc-firewall": "Hardware",
    "svc-pentest": "Services",
}
_TAX_CODES = {"WA-SEA": "California"}  # the nearest a sandbox has to Seattle
_TERMS = {"net_30": "Net 30"}
_DISCOUNT = "Discount"


class Psa:
    """Our API as a PSA sees it."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {key}"

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; raises with the problem's own words when it is refused."""
        answer = self._session.request(method, self._url + path, json=body, timeout=TIMEOUT)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: HTTP {answer.status_code}: {answer.text[:500]}")
        return cast(dict[str, Any], answer.json()) if answer.content else {}


class Bookkeeper:
    """Somebody with an app of their own in the same QuickBooks company."""

    def __init__(self, api: str, control: str, realm: str) -> None:
        app = {"client_id": BOOKKEEPER, "client_secret": "demo-bookkeeper-secret"}
        requests.post(f"{control}/apps", json=app, timeout=TIMEOUT).raise_for_status()
        minted = requests.post(
            f"{control}/tokens", json={"client_id": BOOKKEEPER, "realm": realm}, timeout=TIMEOUT
        )
        minted.raise_for_status()
        self.token = str(minted.json()["access_token"])
        self._base = f"{api}/v3/company/{realm}"
        self._session = requests.Session()
        self._session.headers.update({"Authorization": f"Bearer {self.token}", "Accept": "application/json"})
        self._known: dict[str, list[dict[str, Any]]] = {}

    def rows(self, entity: str) -> list[dict[str, Any]]:
        """All active objects of an entity; asked for once, because Intuit allows ten calls a second."""
        if entity not in self._known:
            params = {"query": query_.select(entity).order_by("Id").text, "minorversion": "75"}
            self._known[entity] = self._call("GET", "query", params)["QueryResponse"].get(entity, [])
        return self._known[entity]

    def id_by(self, entity: str, field: str, value: str) -> str:
        """The id of the one object whose field has this value."""
        return str(next(row["Id"] for row in self.rows(entity) if row.get(field) == value))

    def customer(self, client: Client) -> str:
        """The customer for a client, made in its currency when it is not there."""
        for row in self.rows("Customer"):
            if row["DisplayName"] == client.name:
                return str(row["Id"])
        body = {"DisplayName": client.name, "CurrencyRef": {"value": client.currency}}
        return str(self._call("POST", "customer", {"minorversion": "75"}, body)["Customer"]["Id"])

    def receive(self, number: str) -> None:
        """Receive the whole amount of an invoice, as its customer's cheque came in."""
        query = query_.select("Invoice").where("DocNumber", "=", number).text
        params = {"query": query, "minorversion": "75"}
        (invoice,) = self._call("GET", "query", params)["QueryResponse"]["Invoice"]
        line = {"Amount": invoice["Balance"], "LinkedTxn": [{"TxnId": invoice["Id"], "TxnType": "Invoice"}]}
        body = {
            "CustomerRef": invoice["CustomerRef"],
            "CurrencyRef": invoice["CurrencyRef"],
            "TotalAmt": invoice["Balance"],
            "PaymentRefNum": f"CHK {number[-5:]}",
            "Line": [line],
        }
        self._call("POST", "payment", {"minorversion": "75"}, body)

    def _call(
        self, method: str, path: str, params: dict[str, str], body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        time.sleep(PACE)
        url = f"{self._base}/{path}"
        answer = self._session.request(method, url, params=params, json=body, timeout=TIMEOUT)
        answer.raise_for_status()
        return cast(dict[str, Any], answer.json())


def connect(psa: Psa, control: str) -> str:
    """Save credentials, walk through Intuit's pages, come back; returns the company's name.

    A company that is connected already stays as it is.
    """
    known = psa.send("GET", "/v1/quickbooks/companies")["data"]
    for company in known:
        if company["realm_id"] == REALM and company["state"] == "active":
            return str(company["name"])
    told = psa.send("PUT", "/v1/quickbooks/credentials", dict(APP))
    app = {**APP, "redirect_uris": [told["redirect_uri"]]}
    requests.post(f"{control}/apps", json=app, timeout=TIMEOUT).raise_for_status()
    browser = Browser()
    browser.open(psa.send("POST", "/v1/quickbooks/connect", {})["connect_url"])
    browser.submit()  # our page: Connect QuickBooks
    browser.submit(realm=REALM, decision="approve")  # Intuit's page: choose the company, approve
    company = psa.send("GET", f"/v1/quickbooks/companies/{REALM}")
    if company["state"] != "active":
        raise RuntimeError(f"the company is {company['state']} after connecting: {browser.page.text[:500]}")
    return str(company["name"])


def set_up(psa: Psa, bookkeeper: Bookkeeper) -> None:
    """Map clients, services, tax, terms and discounts as an accounting admin would; leave one service out."""
    customers = [
        (client, bookkeeper.customer(client)) for client in CLIENTS
    ]  # there before the lists are read
    for client, customer in customers:
        _map(psa, "customer", client.client_id, customer, client.name, client.currency)
    map_services(psa, bookkeeper, (service.service_id for service in SERVICES))
    for region, name in _TAX_CODES.items():
        _map(psa, "tax_code", region, bookkeeper.id_by("TaxCode", "Name", name), name)
    for term, name in _TERMS.items():
        _map(psa, "term", term, bookkeeper.id_by("Term", "Name", name), name)
    _map(psa, "discount_item", "", bookkeeper.id_by("Item", "Name", _DISCOUNT), _DISCOUNT)
    psa.send("PUT", "/v1/settings/auto_sync", {"value": True})


def map_services(psa: Psa, bookkeeper: Bookkeeper, service_ids: Iterable[str]) -> list[str]:
    """Map services to items by name; returns the operations that started again because of it."""
    released: list[str] = []
    for service_id in service_ids:
        name = _ITEMS[service_id]
        told = _map(psa, "item", service_id, bookkeeper.id_by("Item", "Name", name), name)
        released += told["released"]
    return released


def _map(psa: Psa, kind: str, key: str, external_id: str, name: str, variant: str = "") -> dict[str, Any]:
    body = {
        "kind": kind,
        "key": key,
        "variant": variant,
        "external_id": external_id,
        "external_name": name[:200],
    }
    return psa.send("PUT", "/v1/mappings", body)


def due(psa: Psa, invoice_id: str) -> int | None:
    """What is open on an invoice, in cents, as our API tells the PSA."""
    balances = psa.send("GET", f"/v1/balances?invoice_id={invoice_id}")["data"]
    return cast(int, balances[0]["due"]) if balances else None
