"""A worker dies at every boundary of every kind of operation, from outside: one effect, links right, no orphan.

Each case is held against the same history without a crash: both books must look alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from sqlalchemy import text

from services.database import Database, Role
from services.exceptions import replays
from services.ledger import operations
from services.ledger.operations import Operation, Plan
from services.outbound import decisions
from tests.support import crashes
from tests.support.crashes import Boundary, Killer, picture, strangers, work_on
from tests.support.exporting import (
    ACTOR,
    Workbench,
    applied,
    credit_note,
    invoice,
    new_workbench,
    payment,
    voided,
)
from tests.support.killable import Crew
from tests.support.sandbox import Sandbox

_numbers = itertools.count(1)

History = list[tuple[str, dict[str, Any]]]
REVERSED = {"id": "pay-1", "date": "2026-11-05", "reason": "keyed_in_error"}
DUE = {"id": "inv-1", "date": "2027-01-31", "reason": "agreed", "actor": ACTOR}
WRITTEN_OFF = {"id": "inv-1", "amount": 13500, "date": "2026-11-20", "reason": "bankrupt", "actor": ACTOR}
CLIENT = {"id": "cl-1", "name": "Cool Cars Ltd", "billing_email": "new@cars.example"}
NEW_CLIENT = {"id": "cl-9", "name": "Pinnacle Roofing", "tax_exempt": True}


@dataclass(frozen=True)
class Kind:
    """One kind of operation: the events before it, the one that asks for it, and what it is made of."""

    before: History
    event: tuple[str, dict[str, Any]] | None
    creates: bool = False  # a new object, rather than a change of one
    offset_after: int | None = (
        None  # closed books, a decision, and so many calls before the one that is to crash
    )


INVOICE = ("invoice.finalized", invoice("inv-1"))
MEMO = ("credit_note.finalized", credit_note("cn-1"))
APPLIED = ("credit.applied", applied("app-1", "cn-1", "inv-1", 5000))
PAID = ("payment.recorded", payment("pay-1", ("inv-1", 13500)))
VOIDED = ("invoice.voided", voided("inv-1"))
PREPAID = [
    ("invoice.finalized", invoice("pre-1", type="prepayment")),
    ("payment.recorded", payment("pay-1", ("pre-1", 13500))),
    INVOICE,
]
KINDS = {
    "invoice": Kind([], INVOICE, creates=True),
    "credit_memo": Kind([], MEMO, creates=True),
    "apply": Kind([INVOICE, MEMO], APPLIED, creates=True),
    "unapply": Kind([INVOICE, MEMO, APPLIED], ("credit.unapplied", APPLIED[1])),
    "use_prepayment": Kind(
        PREPAID, ("credit.applied", applied("app-1", "pre-1", "inv-1", 5000, source_kind="prepayment"))
    ),
    "payment": Kind([INVOICE], PAID, creates=True),
    "reallocation": Kind(
        [INVOICE, ("invoice.finalized", invoice("inv-2")), PAID],
        ("payment.reallocated", {"id": "pay-1", "allocations": [{"invoice_id": "inv-2", "amount": 13500}]}),
    ),
    "reversal": Kind([INVOICE, PAID], ("payment.reversed", REVERSED)),
    "void_invoice": Kind([INVOICE], ("invoice.voided", voided("inv-1"))),
    "void_credit_memo": Kind([MEMO], ("credit_note.voided", voided("cn-1"))),
    "due_date": Kind([INVOICE], ("invoice.due_date_changed", DUE)),
    "customer": Kind([], ("client.updated", CLIENT)),
    "tax_draft": Kind([], ("invoice.tax_requested", invoice("inv-1", tax_source="pending_external"))),
    "correction": Kind([INVOICE], ("invoice.corrected", invoice("inv-1", net=9000))),
    "re_export": Kind([INVOICE], None, creates=True),
    "bounced": Kind([INVOICE, PAID], ("payment.reversed", REVERSED | {"reason": "bounced"})),
    "write_off": Kind([INVOICE], ("invoice.written_off", WRITTEN_OFF)),
    "offset_look": Kind([INVOICE], VOIDED, offset_after=0),
    "offset": Kind([INVOICE], VOIDED, creates=True, offset_after=1),
    "offset_tie": Kind([INVOICE], VOIDED, creates=True, offset_after=2),
    "offset_credit_memo": Kind([MEMO], ("credit_note.voided", voided("cn-1")), creates=True, offset_after=1),
}
EFFECTS = KINDS | {
    # QuickBooks would refuse a second one of the whole amount as paid already; these it would take.
    "part_payment": Kind([INVOICE], ("payment.recorded", payment("pay-1", ("inv-1", 5000))), creates=True),
    "part_credit": Kind(
        [INVOICE, MEMO], ("credit.applied", applied("app-1", "cn-1", "inv-1", 1000)), creates=True
    ),
    "prepayment": Kind(PREPAID[:1], PREPAID[1], creates=True),
    # Its document waits for it: an operation that asks for another is not the one that a worker can be killed at.
    "new_customer": Kind([], ("invoice.finalized", invoice("inv-1", client=NEW_CLIENT)), creates=True),
}


@pytest.fixture(scope="module")
def crew(module_database_url: str) -> Iterator[Crew]:
    """Workers to kill."""
    made = Crew.assemble(module_database_url)
    yield made
    made.dismiss()


@pytest.fixture(scope="module")
def fleet(module_database_url: str) -> Iterator[Database]:
    """The module's database."""
    with Database(module_database_url, Role.FLEET, pool_size=5) as database:
        yield database


Bench = Callable[[], Workbench]


@pytest.fixture(scope="module")
def new_bench(fleet: Database, _sandbox_process: Sandbox) -> Iterator[Bench]:
    """Makes tenants, each with a company of its own."""
    _sandbox_process.reset()

    def make() -> Workbench:
        number = next(_numbers)
        realm = str(9341450000002000 + number)
        address = f"{_sandbox_process.control}/companies"
        requests.post(address, json={"realm": realm}, timeout=5).raise_for_status()
        bench = new_workbench(fleet, _sandbox_process, tenant=f"t-{number}", realm=realm)
        bench.set("push_customer_fields", True, "tenant")
        bench.set("auto_create_customers", True)
        bench.set("write_off_item", {"id": "7"})
        bench.set("refunds", "expense")
        bench.set("refund_account", {"id": "5"})
        bench.set("receivables_account", {"id": "7"})
        bench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
        return bench

    yield make
    _sandbox_process.reset()


def ask(bench: Workbench, name: str) -> Operation:
    """Tell the history, and ask for the operation that is to crash; it is due then."""
    kind = EFFECTS[name]
    for event, data in kind.before:
        bench.say(event, data, settle=False)
        work_on(bench)
    if kind.offset_after is not None:
        bench.bookkeeper("close-books", through="2026-10-31")
        bench.know("AccountingInfoPrefs", BookCloseDate="2026-10-31")
    if kind.event is not None:
        bench.say(*kind.event, settle=False)
    else:
        _recreate(bench)
    if kind.offset_after is not None:
        _offset(bench, kind.offset_after)
    return bench.operation(crashes.opened(bench))


def _offset(bench: Workbench, calls: int) -> None:
    """The void finds the books closed, somebody decides that a document offsets it, and so many calls are made."""
    work_on(bench)
    (failed,) = [one for one in bench.operations() if one.state == "failed"]
    with bench.fleet.transaction(bench.tenant) as connection:
        decisions.decide(connection, failed.operation_id, "offset", actor="controller", reason="agreed")
    for _ in range(calls):
        bench.run(bench.operation(failed.operation_id))
        bench.make_due()


def _recreate(bench: Workbench) -> None:
    """Somebody deleted the invoice, the feed told, and an operator wants it back."""
    link = bench.link("invoice", "inv-1")
    assert link is not None
    bench.bookkeeper("delete", entity="Invoice", id=link.external_id)
    with bench.fleet.transaction(bench.tenant) as connection:
        connection.execute(text("UPDATE link SET state = 'external_voided'"))
        plan = Plan(kind="export_invoice", queue="export", company_id=bench.company_id)
        operations.insert(connection, bench.tenant, "invoice", "inv-1", plan, revision=1, repair=1)


@pytest.fixture(scope="module")
def clean(new_bench: Bench) -> Callable[[str], dict[str, Any]]:
    """Both books after the same history without a crash, by kind; each is told once."""
    known: dict[str, dict[str, Any]] = {}

    def look(name: str) -> dict[str, Any]:
        if name not in known:
            bench = new_bench()
            ask(bench, name)
            work_on(bench)
            known[name] = picture(bench)
            assert known[name]["exceptions"] == []
            assert {one[-1] for one in known[name]["operations"]} <= {"succeeded", "skipped"}
            assert strangers(bench) == []
        return known[name]

    return look


@pytest.mark.parametrize("boundary", list(Boundary))
@pytest.mark.parametrize("name", KINDS)
def test_killed_at_a_boundary(
    new_bench: Bench, crew: Crew, clean: Callable[[str], dict[str, Any]], name: str, boundary: Boundary
) -> None:
    """SIGKILL, or a database connection that breaks: whoever comes next ends with the same books."""
    bench = new_bench()
    Killer(bench, crew).kill(boundary, ask(bench, name))
    work_on(bench)
    assert picture(bench) == clean(name)


@pytest.mark.parametrize("name", KINDS)
def test_two_workers_at_once(
    new_bench: Bench, crew: Crew, clean: Callable[[str], dict[str, Any]], name: str
) -> None:
    """The same command delivered twice, to two workers at the same moment: one does it, one steps back."""
    bench = new_bench()
    operation = ask(bench, name)
    killer = Killer(bench, crew)
    killer.trouble("latency", method="POST", seconds=0.1)
    for pid in [crew.start(bench, operation.operation_id) for _ in range(3)]:
        crew.ended(pid)
    bench.no_more_troubles()
    work_on(bench)
    assert picture(bench) == clean(name)


@pytest.mark.parametrize("name", KINDS)
def test_replayed_by_an_operator_while_a_worker_hangs(
    new_bench: Bench, crew: Crew, clean: Callable[[str], dict[str, Any]], name: str
) -> None:
    """QuickBooks did it and does not answer; given up, replayed by hand and done; the late worker writes nothing."""
    bench = new_bench()
    operation = ask(bench, name)
    killer = Killer(bench, crew)
    rule = killer.trouble("hang_after", method="POST", times=1, seconds=0.4)
    pid = crew.start(bench, operation.operation_id)
    killer.until_hit(rule)
    bench.expire_leases()
    give_up(bench, operation)
    with bench.fleet.transaction(bench.tenant) as connection:
        replays.again(connection, operation.operation_id, "operator", "QuickBooks is back")
    work_on(bench)
    crew.ended(pid)
    work_on(bench)
    after, without = picture(bench), dict(clean(name))
    asked = [one[0] for one in after["told"] if one[0].startswith("exception")]
    assert asked[-2:] == ["exception.opened.v1", "exception.resolved.v1"]
    for one in (after, without):
        one["told"] = [event for event in one["told"] if not event[0].startswith("exception")]
    assert after == without


def give_up(bench: Workbench, operation: Operation) -> None:
    """The last of many tries fails: an exception, with an outcome that is unknown."""
    with bench.fleet.transaction(bench.tenant) as connection:
        connection.execute(text("UPDATE operation SET tries = 11 WHERE state = 'queued'"))
    bench.trouble("server_error", realm=bench.realm)  # of the look, too
    bench.run(bench.operation(operation.operation_id))
    bench.no_more_troubles()
    assert bench.operation(operation.operation_id).state == "failed"


@pytest.mark.parametrize("name", EFFECTS)
def test_the_answer_is_lost_and_the_request_id_forgotten_at_once(
    new_bench: Bench, clean: Callable[[str], dict[str, Any]], name: str
) -> None:
    """Whichever answer is lost, with ids that mean nothing and numbers that nobody guards: one effect, links right."""
    for number in itertools.count():
        bench = new_bench()
        bench.switch_company(requestid_remembered=False, warn_duplicate_number=False)
        ask(bench, name)
        bench.trouble("cut_after", realm=bench.realm, method="POST", times=1, skip=number)
        work_on(bench)
        lost = crashes.hits(bench)
        bench.no_more_troubles()
        assert picture(bench) == clean(name)
        if not lost:
            break
    assert number > 0, "no answer was lost"


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.creates])
def test_deleted_in_quickbooks_before_the_answer_came(new_bench: Bench, crew: Crew, name: str) -> None:
    """Made, the answer lost, and deleted by a person: asked about, not made again silently, and once on a retry."""
    bench = new_bench()
    operation = ask(bench, name)
    Killer(bench, crew).kill(Boundary.ANSWER_LOST, operation)
    entity, (made,) = newest(bench, operation)
    bench.bookkeeper("delete", entity=entity, id=made["Id"])
    work_on(bench)
    assert bench.operation(operation.operation_id).state == "failed"
    assert bench.codes() == ["deleted_meanwhile"]
    assert newest(bench, operation)[1] == []
    with bench.fleet.transaction(bench.tenant) as connection:
        replays.again(connection, operation.operation_id, "operator", "it is wanted after all")
    work_on(bench)
    assert len(newest(bench, operation)[1]) == 1
    assert (bench.codes(), strangers(bench)) == ([], [])


def newest(bench: Workbench, operation: Operation) -> tuple[str, list[dict[str, Any]]]:
    """What an operation made, in QuickBooks."""
    call = bench.operation(operation.operation_id).call
    assert call is not None
    return call["entity"], bench.objects(call["entity"])


LOST = {
    "invoice": (INVOICE, ("invoice.corrected", invoice("inv-1", net=9000)), ["altered_document"]),
    "invoice_same": (INVOICE, ("invoice.corrected", invoice("inv-1", po_number="PO 9")), []),
    "invoice_void": (INVOICE, ("invoice.voided", voided("inv-1")), ["link_lost"]),
    "credit_memo_void": (MEMO, ("credit_note.voided", voided("cn-1")), ["link_lost"]),
    "unapply": (APPLIED, ("credit.unapplied", APPLIED[1]), ["link_lost"]),
    "reversal": (PAID, ("payment.reversed", REVERSED), ["link_lost"]),
    "payment": (PAID, KINDS["reallocation"].event, ["pushed_payment_unapplied"]),
}


@pytest.mark.parametrize("name", LOST)
def test_a_link_row_that_is_lost(new_bench: Bench, name: str) -> None:
    """What follows finds the object again by its marker, or says by name that it does not know it; never a second."""
    first, then, codes = LOST[name]
    assert then is not None
    bench = new_bench()
    before = {
        "unapply": [INVOICE, MEMO],
        "reversal": [INVOICE],
        "payment": [INVOICE, ("invoice.finalized", invoice("inv-2"))],
    }
    for event, data in [*before.get(name, []), first]:
        bench.say(event, data, settle=False)
        work_on(bench)
    made = {entity: len(bench.objects(entity)) for entity in ("Invoice", "CreditMemo", "Payment")}
    lost = bench.operations()[-1]
    with bench.fleet.transaction(bench.tenant) as connection:
        connection.execute(
            text("DELETE FROM link WHERE kind = :kind AND document_id = :id"),
            {"kind": lost.document_kind, "id": lost.document_id},
        )
    bench.say(*then, settle=False)
    work_on(bench)
    assert {entity: len(bench.objects(entity)) for entity in made} == made
    assert bench.codes() == codes
