"""`algasync bench onboarding`: a real MSP's book through the wizard, against truths known beforehand.

A private sandbox company is filled by its bookkeeper with customers, invoices, credit memos and payments; the PSA's
lists are the same book as another system would hold it: names written in other ways, some customers missing, some
that only look alike, some documents that differ. What was linked is then compared with what was meant.
"""

from __future__ import annotations

import datetime
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import uuid4

import typer

from services.cli import bench_runs, console
from services.cli.bench_runs import Runs
from services.cli.console import FAILED, Told
from services.cli.options import Json

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from services.connections.clients import Clients
    from services.database import Database
    from services.onboarding.runs import Run
    from services.quickbooks.call import Call
    from services.quickbooks.reply import Reply

REALM: Final = 9341450000060000  # of the first run
ACTOR: Final = "bench"
BATCH: Final = 2_000  # entries the bookkeeper makes at once
SPARE_READS: Final = 12  # of the bar: reads beyond the full pages

_FIRST = (
    "Blue Summit Harbor Cedar Granite Willow Falcon Copper Maple Iron Silver Northern Prairie Canyon Orchard"
)
_SECOND = "Ridge Valley Point Creek Field Bridge Gate Wood Brook Haven Crest Meadow Grove Shore Stone Hollow"
_TRADES = "Dental Logistics Roofing Pediatrics Catering Plumbing Legal Printing Veterinary Landscaping Optics Freight"
_TOWNS = "Akron Boise Dayton Eugene Fresno Lowell Macon Omaha Reno Salem Tulsa Waco"


@dataclass
class Book:
    """What the bookkeeper enters, what the PSA lists, and which belongs to which."""

    customers: list[dict[str, Any]] = field(default_factory=list)
    clients: list[dict[str, Any]] = field(default_factory=list)
    meant: dict[str, int] = field(default_factory=dict)  # client id -> place among customers


def onboarding(
    invoices: Annotated[int, typer.Option(min=10, help="Invoices in the books.")] = 18_000,
    payments: Annotated[int, typer.Option(min=0, help="Payments in the books.")] = 17_000,
    customers: Annotated[int, typer.Option(min=10, help="Customers in the books.")] = 1_200,
    seed: Annotated[int, typer.Option(help="Same seed, same book; each run adds one.")] = 1,
    runs: Runs = 1,
    json: Json = False,
) -> None:
    """Read, match and link a whole book with the wizard; count seconds, metered reads and wrong links.

    Uses DATABASE_URL (in a tenant of its own) when it is set, else a private PostgreSQL in a temporary folder. Intuit's
    call limits hold for every call, and their waiting is part of `seconds`, not of `own_seconds`. Each run has a book
    and a company of its own.

    Example: algasync bench onboarding --json
    """
    from services.cli.bench_servers import servers

    with servers() as found:
        measured = []
        for number in range(runs):
            chance = random.Random(seed + number)  # noqa: S311 - a book, no secret
            bench = _Bench(found.database_url, found.api, found.control, chance, str(REALM + number))
            measured.append(bench.run(invoices, payments, customers))
    report = bench_runs.report(measured, sums=("wrong_exact_matches", "wrong_links"))
    report |= {"invoices": invoices, "payments": payments, "customers": customers, "seed": seed}
    if json:
        console.result(report)
    else:
        bench_runs.show(report)
    if report["wrong_exact_matches"] or report["wrong_links"]:
        raise Told("something was linked that does not belong together", code="wrong_links", exit_code=FAILED)


class _Bench:
    def __init__(self, database_url: str, api: str, control: str, chance: random.Random, realm: str) -> None:
        self._realm = realm
        self._url = database_url
        self._api = api
        self._control = control
        self._chance = chance
        self._tenant = f"bench-{uuid4().hex[:8]}"

    def run(self, invoices: int, payments: int, customers: int) -> dict[str, Any]:
        from services.cli.arena import Arena
        from services.configuration import Configuration
        from services.connections.application import Application
        from services.connections.clients import Clients
        from services.connections.intuit import Intuit
        from services.connections.vault import Vault, new_key
        from services.database import Database, Role, migrate
        from services.exceptions.attention import ConnectionAttention

        migrate(self._url)
        vault = Vault([new_key()])
        configuration = Configuration(
            quickbooks_api_url=self._api,
            quickbooks_authorize_url=f"{self._api}/connect/oauth2",
            quickbooks_token_url=f"{self._api}/oauth2/v1/tokens/bearer",
            quickbooks_revoke_url=f"{self._api}/v2/oauth2/tokens/revoke",
        )
        intuit = Intuit(configuration, Application(redirect_uri="http://127.0.0.1/callback"), vault)
        with Database(self._url, Role.FLEET, application="algasync bench") as database:
            arena = Arena(self._control, database, vault)
            arena.prepare(limits=True)
            company_id = arena.join(self._tenant, self._realm)
            book = self._names(customers)
            documents, pairs = self._enter(book, invoices, payments)
            console.note(
                f"{customers:,} customers, {invoices:,} invoices, {payments:,} payments are in the books"
            )
            clients = Clients(database, intuit, ConnectionAttention(), self._tenant)
            try:
                return self._walk(database, _Timed(clients), company_id, book, documents, pairs, arena)
            finally:
                clients.close()

    def _walk(
        self,
        database: Database,
        clients: Any,
        company_id: Any,
        book: Book,
        documents: list[dict[str, Any]],
        pairs: dict[str, str],
        arena: Any,
    ) -> dict[str, Any]:
        from services.onboarding import customers, handover, history, history_matches, payments, reading, runs

        reads_before = int(arena.counters(self._realm).get("metered_reads", 0))
        spent: dict[str, float] = {}
        began = mark = time.perf_counter()
        cpu = time.process_time()

        def lap(name: str) -> None:
            nonlocal mark
            spent[name] = round(time.perf_counter() - mark, 2)
            mark = time.perf_counter()
            console.note(f"{name}: {spent[name]} s")

        with database.transaction(self._tenant) as connection:
            handover.put_clients(connection, self._tenant, book.clients)
            handover.put_documents(connection, self._tenant, documents)
            run = runs.start(connection, self._tenant, company_id, ACTOR)
        lap("hand_over")
        reading.read(database, clients, run)
        lap("read")
        exact = customers.accept_exact(database, run, actor=ACTOR, on_mapping_set=_nothing)
        lap("exact_customers")
        wrong_exact = self._wrong_customers(database, run, book)
        mark = time.perf_counter()
        confirmed = self._confirm(database, run, book)
        lap("confirmed_customers")
        linked = history.link_confident(database, run, actor=ACTOR)
        lap("history")
        reading.read(database, clients, run, ["Payment"])
        lap("read_payments")
        brought = payments.bring_over(database, run, actor=ACTOR)
        lap("payments")
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        counts = history_matches.count(history.match(database, run))
        lap("judging_history_again")
        with database.transaction(self._tenant) as connection:
            read = runs.readings(connection, run.run_id).values()
            links = _links(connection, company_id)
        reads = int(arena.counters(self._realm).get("metered_reads", 0)) - reads_before
        full_pages = sum(-(-one.taken // 1000) for one in read)
        return {
            "seconds": round(seconds, 2),
            "own_seconds": round(seconds - clients.waited, 2),
            "cpu_seconds": round(cpu, 2),
            "metered_reads": reads,
            "full_pages": full_pages,
            "reads_allowed": full_pages + SPARE_READS,
            "wrong_exact_matches": wrong_exact,
            "wrong_links": sum(pairs.get(document) != external for document, external in links.items()),
            "exact_matches": exact,
            "confirmed_matches": confirmed,
            "linked_documents": linked,
            "payments_brought_over": brought["new"],
            "history": counts,
            "laps": spent,
        }

    def _names(self, count: int) -> Book:
        """Names as MSPs' clients have them, and how the other system writes them."""
        book, chance = Book(), self._chance
        words = [f"{a} {b} {c}" for a in _FIRST.split() for b in _SECOND.split() for c in _TRADES.split()]
        for place, name in enumerate(chance.sample(words, count)):
            book.customers.append({"DisplayName": (theirs := self._dressed(name))})
            fate, id_ = chance.random(), f"client-{place}"
            if fate < 0.03:
                continue  # a customer the PSA does not know
            if fate < 0.06:  # another branch, another house number: no match
                ours = f"{name} {chance.choice(_TOWNS.split())}" if fate < 0.045 else f"{name} {place}"
            else:
                book.meant[id_] = place
                ours = self._dressed(name) if fate < 0.8 else self._slipped(theirs)
            book.clients.append({"id": id_, "name": ours, "currency": "USD"})
        return book

    def _dressed(self, name: str) -> str:
        """A legal form, capitals or punctuation, as people add them."""
        return self._chance.choice(("{}", "{} LLC", "{}, LLC", "{} L.L.C.", "{} llc")).format(
            self._chance.choice((str, str, str.upper))(name)
        )

    def _slipped(self, name: str) -> str:
        """A slip of the pen, or other words first."""
        words = name.split()
        if self._chance.random() < 0.3:
            return " ".join((words[1], words[0], *words[2:]))
        place = self._chance.randrange(2, len(words[0]))
        return " ".join((words[0][:place] + words[0][place - 1 :], *words[1:]))

    def _enter(self, book: Book, invoices: int, payments: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Let the bookkeeper enter everything; the PSA's list of documents, and which belongs to which."""
        ids = self._create("Customer", book.customers)
        owners = {place: client for client, place in book.meant.items()}
        forms = {
            "Invoice": [self._form(ids, f"INV-{100_000 + number}") for number in range(invoices)],
            "CreditMemo": [self._form(ids, f"CN-{number}") for number in range(invoices // 60)],
        }
        listed: list[dict[str, Any]] = []
        pairs: dict[str, str] = {}
        made = {entity: self._create(entity, [body for body, _ in rows]) for entity, rows in forms.items()}
        for entity, rows in forms.items():
            for (body, place), external in zip(rows, made[entity], strict=True):
                if place not in owners:
                    continue
                document = self._listed(entity, body, owners[place], external)
                listed.append(document)
                pairs[document["id"]] = external
        paid = list(zip(made["Invoice"], (body for body, _ in forms["Invoice"]), strict=True))[:payments]
        self._create("Payment", [_payment(external, body) for external, body in paid])
        return listed, pairs

    def _form(self, ids: list[str], number: str) -> tuple[dict[str, Any], int]:
        place = self._chance.randrange(len(ids))
        day = datetime.date(2016, 1, 4) + datetime.timedelta(days=self._chance.randrange(3_500))
        amount = f"{self._chance.randrange(2_000, 900_000) / 100:.2f}"
        line = {
            "Amount": amount,
            "DetailType": "SalesItemLineDetail",
            "Description": "Managed services",
            "SalesItemLineDetail": {"ItemRef": {"value": "3"}},
        }
        body = {
            "CustomerRef": {"value": ids[place]},
            "DocNumber": number,
            "TxnDate": day.isoformat(),
            "Line": [line],
        }
        return body, place

    def _listed(self, entity: str, body: dict[str, Any], client: str, external: str) -> dict[str, Any]:
        """The document as the PSA has it; one in fifty differs in total or date."""
        total, day, fate = (
            int(body["Line"][0]["Amount"].replace(".", "")),
            body["TxnDate"],
            self._chance.random(),
        )
        if fate < 0.01:
            total += 1
        elif fate < 0.02:
            day = "2026-01-01"
        return {
            "kind": "invoice" if entity == "Invoice" else "credit_note",
            "id": f"{entity}-{external}",
            "number": body["DocNumber"],
            "date": day,
            "total": total if entity == "Invoice" else -total,
            "currency": "USD",
            "client_id": client,
            "state": self._chance.choice(("paid", "paid", "sent", "overdue", "partially_applied")),
        }

    def _create(self, entity: str, bodies: list[dict[str, Any]]) -> list[str]:
        import requests

        made: list[str] = []
        for first in range(0, len(bodies), BATCH):
            entries = [{"entity": entity, "body": body} for body in bodies[first : first + BATCH]]
            url = f"{self._control}/companies/{self._realm}/bookkeeper/create-many"
            answer = requests.post(url, json={"entries": entries}, timeout=300)
            answer.raise_for_status()
            made += [str(id_) for id_ in answer.json()]
        return made

    def _customer_ids(self, database: Database, run: Run) -> dict[str, str]:
        from services.onboarding import customers

        with database.transaction(self._tenant) as connection:
            return {key[1]: row.external_id for key, row in customers.linked(connection, run).items()}

    def _truth(self, database: Database, run: Run, book: Book) -> dict[str, str]:
        from services.onboarding import reading

        with database.transaction(self._tenant) as connection:
            by_name = {one.name: one.id for one in reading.customers(connection, run.run_id)}
        return {client: by_name[book.customers[place]["DisplayName"]] for client, place in book.meant.items()}

    def _wrong_customers(self, database: Database, run: Run, book: Book) -> int:
        truth = self._truth(database, run, book)
        held = self._customer_ids(database, run)
        return sum(truth.get(client) != external for client, external in held.items() if client != "cl-1")

    def _confirm(self, database: Database, run: Run, book: Book) -> int:
        """What a person does: confirm the suggestions that are right, and only those."""
        from services.onboarding import customers

        truth, confirmed = self._truth(database, run, book), 0
        plan = customers.plan(database, run)
        for match in plan:
            right = next((one for one in match.candidates if one.id == truth.get(match.client.id)), None)
            if match.status != "suggested" or right is None:
                continue
            with database.transaction(self._tenant) as connection:
                at = match.client.at
                customers.link(connection, run, at, right.id, actor=ACTOR, on_mapping_set=_nothing)
            confirmed += 1
        return confirmed


class _Timed:
    """Calls to QuickBooks, and how long they and the company's call limits took: not our own time."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.waited = 0.0

    def look(self, company_id: UUID, call: Call) -> Reply:
        """Make a read, and take its time."""
        began = time.perf_counter()
        try:
            return self._clients.look(company_id, call)
        finally:
            self.waited += time.perf_counter() - began


def _payment(external: str, body: dict[str, Any]) -> dict[str, Any]:
    amount = body["Line"][0]["Amount"]
    return {
        "CustomerRef": body["CustomerRef"],
        "TotalAmt": amount,
        "TxnDate": body["TxnDate"],
        "Line": [{"Amount": amount, "LinkedTxn": [{"TxnId": external, "TxnType": "Invoice"}]}],
    }


def _nothing(connection: Connection, tenant: str, cause: str) -> None:
    """Nobody waits for a mapping here."""


def _links(connection: Connection, company_id: Any) -> dict[str, str]:
    from sqlalchemy import text

    found = connection.execute(
        text("SELECT document_id, external_id FROM link WHERE company_id = :c"), {"c": company_id}
    )
    return {row.document_id: row.external_id for row in found}
