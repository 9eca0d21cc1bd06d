"""The control port: companies, switches, bookkeeping that is refused, and what a sandbox is made of.

Source: ours: docs/sandbox.md says what the control port offers.
"""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import get_args

import pytest
import requests

import services.sandbox
from services.sandbox.faults import NOT_MODELLED
from services.sandbox.server import Sandbox
from services.sandbox.switches import Switches
from services.sandbox.troubles import Kind
from tests.contract.sandbox.books import Books


def test_imports_nothing_of_the_project() -> None:
    """The sandbox is a product of its own: it cannot be bent by sharing code with the client [ours]."""
    ours = {"messages", "outbox", "services", "workers"}
    for module in Path(services.sandbox.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.partition(".")[0] not in ours or name.startswith("services.sandbox"), (
                    module,
                    name,
                )


@pytest.mark.parametrize(
    "change", [{"no_such_switch": 1}, {"limits": "yes"}, {"cdc_cap": "many"}, {"gateway_format": "csv"}]
)
def test_bad_switch_changes_nothing(us: Books, change: dict[str, object]) -> None:
    """An unknown switch or a value of another kind is refused by name, and no switch of the call is set [ours]."""
    path = f"/companies/{us.realm}/switches"
    before = us.control("GET", path)
    answer = us.control("PATCH", path, {"cdc_order": "oldest", **change}, expect=400)
    assert next(iter(change)) in answer["detail"]
    assert us.control("GET", path) == before


def test_switches_of_all_companies(own_sandbox: Sandbox) -> None:
    """A switch set for all reaches companies that exist and those opened later [ours]."""
    books = Books(own_sandbox, "9341450000000001")
    books.control("PATCH", "/switches", {"cdc_cap": 5})
    books.control("POST", "/companies", {"realm": "55"})
    for realm in ("9341450000000001", "55"):
        assert books.control("GET", f"/companies/{realm}/switches")["cdc_cap"] == 5
    books.session.close()


def test_bad_requests_to_the_control_port(us: Books) -> None:
    """Unknown companies, countries, preferences, entities and fields are refused with a reason [ours]."""
    us.control("GET", "/companies/1", expect=404)
    us.control("POST", "/companies", {"realm": us.realm}, expect=400)
    us.control("POST", "/companies", {"realm": "1", "country": "XX"}, expect=400)
    us.control("POST", "/companies", {"realm": "1", "colour": "red"}, expect=422)
    us.control("PATCH", f"/companies/{us.realm}/preferences", {"Nonsense": {}}, expect=400)
    us.control("GET", f"/companies/{us.realm}/objects/Nonsense", expect=404)
    us.control("POST", "/tokens", {"client_id": "nobody", "realm": us.realm}, expect=404)
    app = {"client_id": "x", "client_secret": "y", "redirect_uris": ["http://psa.example/callback"]}
    us.control("POST", "/apps", app, expect=422)  # Intuit takes https, and http on this machine only
    us.control("POST", "/clock", {"seconds": -1}, expect=422)
    us.desk("edit", {"entity": "Nonsense", "id": "1", "changes": {}}, expect=400)


def test_bookkeeping_obeys_the_rules_of_the_books(us: Books) -> None:
    """The bookkeeper is refused as the API is: a fault, and nothing changed [ours]."""
    invoice = us.invoice("10.00")
    receipt = {"customer": "1", "amount": "50.00", "invoices": {invoice["Id"]: "50.00"}}
    assert us.desk("receive-payment", receipt, expect=400)["Fault"]["Error"][0]["code"] == "6000"
    assert us.read("Invoice", invoice["Id"])["Balance"] == 10


def test_the_bookkeepers_day(us: Books) -> None:
    """Receive with all details, edit, tie a credit, void and delete: the books follow, the history knows who [ours]."""
    invoice, memo = us.invoice("100.00"), us.memo("25.00")
    details = {"date": "2026-03-05", "reference": "1234", "note": "by post", "method": "2", "deposit_to": "5"}
    receipt = {"customer": "1", "amount": "60.00", "invoices": {invoice["Id"]: "60.00"}, **details}
    payment = us.desk("receive-payment", receipt)
    assert (payment["TxnDate"], payment["PaymentRefNum"], payment["PrivateNote"]) == (
        "2026-03-05",
        "1234",
        "by post",
    )
    us.desk("apply-credit", {"memo": memo["Id"], "invoice": invoice["Id"], "amount": "25.00"})
    assert us.read("Invoice", invoice["Id"])["Balance"] == 15
    us.desk("edit", {"entity": "Payment", "id": payment["Id"], "changes": {"TotalAmt": 70}})
    assert us.read("Payment", payment["Id"])["UnappliedAmt"] == 10
    us.desk("void", {"entity": "Payment", "id": payment["Id"]})
    assert us.read("Invoice", invoice["Id"])["Balance"] == 75
    us.desk("delete", {"entity": "Payment", "id": payment["Id"]})
    history = us.control("GET", f"/companies/{us.realm}/history?entity=Payment&key={payment['Id']}")
    assert [(row["actor"], row["operation"]) for row in history] == [
        ("bookkeeper", "Create"),
        ("bookkeeper", "Update"),
        ("bookkeeper", "Void"),
        ("bookkeeper", "Delete"),
    ]


def test_a_book_is_filled_in_one_call(us: Books) -> None:
    """create-many enters a list of objects and answers their ids, for demonstrations and benchmarks [ours]."""
    entries = [{"entity": "Customer", "body": {"DisplayName": f"Client {row}"}} for row in range(50)]
    ids = us.desk("create-many", {"entries": entries})
    assert us.query("SELECT COUNT(*) FROM Customer WHERE DisplayName LIKE 'Client %'") == {"totalCount": 50}
    assert us.read("Customer", ids[-1])["DisplayName"] == "Client 49"


def test_the_page_lists_every_switch_and_trouble() -> None:
    """docs/sandbox.md is complete: each switch, each trouble and each unmodelled fault code stands on it [ours]."""
    page = (Path(services.sandbox.__file__).parents[2] / "docs" / "sandbox.md").read_text()
    names = [field.name for field in dataclasses.fields(Switches)] + list(get_args(Kind)) + [NOT_MODELLED]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_secrets_are_not_shown(sandbox: Sandbox) -> None:
    """The list of apps masks client secrets and verifier tokens [ours]."""
    text = requests.get(sandbox.addresses.control + "/apps", timeout=10).text
    assert "secret-one" not in text
    assert "***" in text


def test_listens_on_loopback_only(sandbox: Sandbox) -> None:
    """Both ports are on 127.0.0.1 and healthy [ours]."""
    assert sandbox.addresses.api.startswith("http://127.0.0.1:")
    assert requests.get(sandbox.addresses.control + "/healthz", timeout=10).json() == {"status": "ok"}
