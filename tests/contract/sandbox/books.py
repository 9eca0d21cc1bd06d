"""One company as its clients, its bookkeeper and its test see it; bodies of documents."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from typing import Any

import requests
import simplejson

from services.sandbox.server import Sandbox
from services.sandbox.settings import App

APP = App("app-one", "secret-one", ("http://localhost/callback",))
OTHER_APP = App("app-two", "secret-two", ("http://localhost/other",))
_realms = count(9_000_000_000_000_001)


class Books:
    """One company through the API (`get`, `post`, ...) and through its control port (`control`, `desk`)."""

    def __init__(self, sandbox: Sandbox, realm: str, app: App = APP) -> None:
        self.sandbox = sandbox
        self.realm = realm
        self.app = app
        self.session = requests.Session()
        self.session.headers["Accept"] = "application/json"
        self.tokens: dict[str, Any] = {}

    def authorize(self) -> dict[str, Any]:
        """Tokens without the browser."""
        body = {"client_id": self.app.client_id, "realm": self.realm}
        self.tokens = self.control("POST", "/tokens", body)
        self.session.headers["Authorization"] = f"Bearer {self.tokens['access_token']}"
        return self.tokens

    def control(self, method: str, path: str, body: Any = None, expect: int = 0) -> Any:
        """The control port."""
        address = self.sandbox.addresses.control + path
        answer = requests.request(method, address, json=body, timeout=10)
        assert answer.status_code == expect or (not expect and answer.ok), answer.text
        return simplejson.loads(answer.text, use_decimal=True)

    def desk(self, action: str, body: Any, expect: int = 0) -> Any:
        """The bookkeeper does something."""
        return self.control("POST", f"/companies/{self.realm}/bookkeeper/{action}", body, expect)

    def switch(self, **values: Any) -> None:
        """Set switches of this company."""
        self.control("PATCH", f"/companies/{self.realm}/switches", values)

    def prefer(self, area: str, **values: Any) -> None:
        """Set preferences of this company."""
        self.control("PATCH", f"/companies/{self.realm}/preferences", {area: values})

    def trouble(self, kind: str, **values: Any) -> dict[str, Any]:
        """Put a trouble in force for this company."""
        rule: dict[str, Any] = self.control(
            "POST", "/troubles", {"kind": kind, "realm": self.realm, **values}
        )
        return rule

    def raw(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request to the company, whatever comes back."""
        address = f"{self.sandbox.addresses.api}/v3/company/{self.realm}{path}"
        return self.session.request(method, address, timeout=10, **options)

    def get(self, path: str, **parameters: Any) -> Any:
        """A read that succeeds."""
        answer = self.raw("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return simplejson.loads(answer.text, use_decimal=True)

    def post(self, path: str, body: Any, **parameters: Any) -> Any:
        """A write that succeeds."""
        answer = self.send(path, body, **parameters)
        assert answer.status_code == 200, answer.text
        return simplejson.loads(answer.text, use_decimal=True)

    def send(self, path: str, body: Any, **parameters: Any) -> requests.Response:
        """A write, whatever comes back."""
        data = simplejson.dumps(body, use_decimal=True)
        return self.raw(
            "POST", path, data=data, params=parameters, headers={"Content-Type": "application/json"}
        )

    def refused(self, path: str, body: Any, code: str, **parameters: Any) -> dict[str, Any]:
        """A write that is refused with a code; the books must look as before."""
        before = self.control("GET", f"/companies/{self.realm}/history")
        answer = self.send(path, body, **parameters)
        error: dict[str, Any] = answer.json()["Fault"]["Error"][0]
        assert (error["code"], answer.status_code) == (code, 400), answer.text
        assert self.control("GET", f"/companies/{self.realm}/history") == before
        return error

    def query(self, statement: str) -> dict[str, Any]:
        """The QueryResponse of a statement."""
        response: dict[str, Any] = self.get("/query", query=statement)["QueryResponse"]
        return response

    def query_refused(self, statement: str) -> str:
        """The code with which a statement is refused."""
        answer = self.raw("GET", "/query", params={"query": statement})
        assert answer.status_code == 400, answer.text
        return str(answer.json()["Fault"]["Error"][0]["code"])

    def invoice(self, amount: str = "100.00", /, **fields: Any) -> dict[str, Any]:
        """A new invoice of one untaxed line."""
        created: dict[str, Any] = self.post("/invoice", invoice_body(amount, **fields))["Invoice"]
        return created

    def memo(self, amount: str = "100.00", /, **fields: Any) -> dict[str, Any]:
        """A new credit memo of one untaxed line."""
        created: dict[str, Any] = self.post("/creditmemo", invoice_body(amount, **fields))["CreditMemo"]
        return created

    def pay(self, total: str, invoices: dict[str, str] | None = None, /, **fields: Any) -> dict[str, Any]:
        """A new payment over invoices (id -> amount)."""
        created: dict[str, Any] = self.post("/payment", payment_body(total, invoices, **fields))["Payment"]
        return created

    def read(self, entity: str, key: str) -> dict[str, Any]:
        """An object as it stands."""
        found: dict[str, Any] = self.get(f"/{entity.lower()}/{key}")[entity]
        return found


def sales_line(amount: str, tax: str = "NON", **detail: Any) -> dict[str, Any]:
    """One sales line."""
    values = {"ItemRef": {"value": "1"}, "TaxCodeRef": {"value": tax}, **detail}
    return {"Amount": Decimal(amount), "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": values}


def invoice_body(amount: str = "100.00", /, **fields: Any) -> dict[str, Any]:
    """The body of a sales form with one untaxed line."""
    return {"CustomerRef": {"value": "1"}, "TxnDate": "2026-03-02", "Line": [sales_line(amount)], **fields}


def payment_body(total: str, invoices: dict[str, str] | None = None, /, **fields: Any) -> dict[str, Any]:
    """The body of a payment."""
    body = {"CustomerRef": {"value": "1"}, "TotalAmt": Decimal(total), "TxnDate": "2026-03-03"}
    body["Line"] = [link("Invoice", key, amount) for key, amount in (invoices or {}).items()]
    return {**body, **fields}


def link(kind: str, key: str, amount: str) -> dict[str, Any]:
    """A payment line over one transaction."""
    return {"Amount": Decimal(amount), "LinkedTxn": [{"TxnId": key, "TxnType": kind}]}


def open_books(sandbox: Sandbox, **options: Any) -> Books:
    """A fresh company without limits, and tokens for it."""
    books = Books(sandbox, str(next(_realms)))
    switches = {"limits": False, **options.pop("switches", {})}
    books.control("POST", "/companies", {"realm": books.realm, "switches": switches, **options})
    books.authorize()
    return books
