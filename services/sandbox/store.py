"""The books of one company in memory: objects by id, the indexes over them, and units of work.

A stored object is never changed in place: every write makes a new version, so history keeps the old ones for
nothing. Whatever a request does is collected in a `Unit` and takes effect at `commit`, or not at all.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from services.sandbox.amounts import ZERO
from services.sandbox.clock import Clock, stamp
from services.sandbox.entities import ENTITIES
from services.sandbox.fields import Obj
from services.sandbox.switches import Switches

# "Relabel": another object's new name shows up here; no new SyncToken, no stamp, nobody is told.
Operation = Literal["Create", "Update", "Delete", "Void", "Merge", "Emailed", "Relabel"]
DELETED = " (deleted)"  # what QuickBooks puts behind the name of an inactive row
BOOKKEEPER = "bookkeeper"
RECEIVABLE = "Accounts Receivable"
NAME_HOLDERS = ("Customer", "Vendor")  # share one set of names
Key = tuple[str, str]  # (entity, id)


class Change(NamedTuple):
    """One line of a company's history; `body` is the version written (None when deleted)."""

    at: float
    actor: str
    operation: Operation
    entity: str
    id: str
    body: Obj | None
    merged_into: str = ""


class Reply(NamedTuple):
    """A reply kept for its `requestid`, with a digest of the request's body."""

    status: int
    body: bytes
    digest: str
    at: float


class Mark(NamedTuple):
    """An entry of the change feed: stamp, time it became visible, and what changed."""

    stamp: float
    at: float
    entity: str
    id: str


def folded(name: str) -> str:
    """Names are compared without case and outer or doubled blanks."""
    return " ".join(name.split()).casefold()


@dataclass(slots=True)
class Company:
    """One QuickBooks Online company and its indexes; only `Unit.commit` and `apply` change the books."""

    realm: str
    name: str
    country: str
    currency: str
    clock: Clock
    switches: Switches
    exchange_rates: dict[str, Decimal] = field(default_factory=dict)
    active: bool = True  # False: subscription expired (6190)
    plan: str = "Plus"  # SimpleStart, Essentials, Plus, Advanced
    objects: dict[str, dict[str, Obj]] = field(default_factory=lambda: {name: {} for name in ENTITIES})
    tombstones: dict[Key, float] = field(default_factory=dict)
    names: dict[str, Key] = field(default_factory=dict)
    list_names: dict[tuple[str, str], str] = field(default_factory=dict)
    numbers: dict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    by_customer: dict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    balances: dict[str, Decimal] = field(default_factory=lambda: defaultdict(lambda: ZERO))
    jobs: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    stamps: dict[Key, Mark] = field(default_factory=dict)
    feed: list[Mark] = field(default_factory=list)
    history: list[Change] = field(default_factory=list)
    last_ids: dict[str, int] = field(default_factory=dict)
    last_number: int = 1000
    mails: list[float] = field(default_factory=list)  # when documents were e-mailed
    replies: OrderedDict[str, Reply] = field(default_factory=OrderedDict)
    listeners: list[Callable[[Company, list[Change], list[Mark]], None]] = field(default_factory=list)

    @property
    def us(self) -> bool:
        """Rules of the United States apply."""
        return self.country == "US"

    @property
    def preferences(self) -> Obj:
        """The Preferences object (one a company)."""
        return self.objects["Preferences"]["1"]

    def preference(self, area: str, name: str) -> Any:
        """One preference, None when unset."""
        return self.preferences.get(area, {}).get(name)

    @property
    def multicurrency(self) -> bool:
        """More than one currency is allowed."""
        return bool(self.preference("CurrencyPrefs", "MultiCurrencyEnabled"))

    def find(self, entity: str, key: str) -> Obj | None:
        """The current version, or None."""
        return self.objects[entity].get(key)

    def all(self, entity: str) -> Iterable[Obj]:
        """Every object of an entity, oldest id first."""
        return self.objects[entity].values()

    def next_id(self, entity: str) -> str:
        """The next id of the entity's sequence; a refused request leaves a gap, as it does at Intuit."""
        sequence = ENTITIES[entity].sequence
        number = self.last_ids.get(sequence, 0) + 1
        self.last_ids[sequence] = number
        return str(number)

    def apply(self, changes: list[Change], marks: list[Mark]) -> None:
        """Put a committed unit into the books and every index."""
        for change, mark in zip(changes, marks, strict=True):
            key = (change.entity, change.id)
            old = self.objects[change.entity].get(change.id)
            if old is not None:
                self._unindex(key, old)
            if change.body is None:
                del self.objects[change.entity][change.id]
                self.tombstones[key] = mark.stamp
            else:
                self.objects[change.entity][change.id] = change.body
                self._index(key, change.body)
            if change.operation == "Relabel":
                continue
            self.stamps[key] = mark
            if self.feed and mark < self.feed[-1]:
                insort(self.feed, mark)
            else:
                self.feed.append(mark)
        self.history.extend(changes)

    def restore(self, changes: list[Change], marks: list[Mark]) -> None:
        """Put a commit of an earlier life back, and go on with the ids after it."""
        self.apply(changes, marks)
        for change in changes:
            kind = ENTITIES[change.entity].kind
            if change.id.isdigit() and kind != "single":
                sequence = ENTITIES[change.entity].sequence
                self.last_ids[sequence] = max(self.last_ids.get(sequence, 0), int(change.id))

    def _index(self, key: Key, body: Obj) -> None:
        entity = key[0]
        kind = ENTITIES[entity].kind
        if kind == "transaction":
            if number := body.get("DocNumber"):
                self.numbers[number].add(key)
            for customer, amount in self._receivable(entity, body):
                self.by_customer[customer].add(key)
                self.balances[customer] += amount
        elif entity in NAME_HOLDERS:
            self.names[folded(body["DisplayName"].removesuffix(DELETED))] = key
            if "ParentRef" in body:
                self.jobs[body["ParentRef"]["value"]].add(key[1])
        elif "Name" in body:
            self.list_names[entity, folded(body.get("FullyQualifiedName") or body["Name"])] = key[1]

    def _unindex(self, key: Key, body: Obj) -> None:
        entity = key[0]
        kind = ENTITIES[entity].kind
        if kind == "transaction":
            if number := body.get("DocNumber"):
                self.numbers[number].discard(key)
            for customer, amount in self._receivable(entity, body):
                self.by_customer[customer].discard(key)
                self.balances[customer] -= amount
        elif entity in NAME_HOLDERS:
            self.names.pop(folded(body["DisplayName"].removesuffix(DELETED)), None)
            if "ParentRef" in body:
                self.jobs[body["ParentRef"]["value"]].discard(key[1])
        elif "Name" in body:
            self.list_names.pop((entity, folded(body.get("FullyQualifiedName") or body["Name"])), None)

    def children(self, customer: str) -> set[str]:
        """The ids of the direct sub-customers."""
        return self.jobs.get(customer, set())

    def on_receivables(self, line: Obj) -> bool:
        """Whether a line of a journal entry posts to Accounts Receivable; others may name a customer as well."""
        account = self.objects["Account"][line["JournalEntryLineDetail"]["AccountRef"]["value"]]
        return bool(account["AccountType"] == RECEIVABLE)

    def _receivable(self, entity: str, body: Obj) -> list[tuple[str, Decimal]]:
        """(customer, amount) pairs: whom a transaction names, and what it posts to Accounts Receivable."""
        if entity == "JournalEntry":
            found = []
            for line in body["Line"]:
                detail = line["JournalEntryLineDetail"]
                if "Entity" in detail:
                    sign = (1 if detail["PostingType"] == "Debit" else -1) if self.on_receivables(line) else 0
                    found.append((detail["Entity"]["EntityRef"]["value"], sign * line["Amount"]))
            return found
        if entity == "Purchase":
            return [(body["EntityRef"]["value"], body["TotalAmt"])]
        customer = body.get("CustomerRef", {}).get("value")
        if customer is None:
            return []
        return [(customer, _POSTING_SIGN[entity] * body["TotalAmt"])]


_POSTING_SIGN = {"Invoice": 1, "CreditMemo": -1, "Payment": -1, "RefundReceipt": 0}


class Unit:
    """The writes of one request. Reads see them at once; the books see them at `commit`."""

    __slots__ = ("_operations", "_written", "actor", "at", "browser", "company", "merged")

    def __init__(self, company: Company, actor: str) -> None:
        self.company = company
        self.actor = actor
        self.browser = actor == BOOKKEEPER  # a person in the browser may do a little more than the API
        self.at = company.clock.now()
        self._written: dict[Key, Obj | None] = {}
        self._operations: dict[Key, Operation] = {}
        self.merged: dict[Key, str] = {}

    def get(self, entity: str, key: str) -> Obj | None:
        """The current version, this unit's own writes included."""
        if (entity, key) in self._written:
            return self._written[entity, key]
        return self.company.objects[entity].get(key)

    def of_customer(self, entity: str, customer: str) -> list[Obj]:
        """The customer's transactions of one kind, this unit's own writes included."""
        keys = {key for kind, key in self.company.by_customer.get(customer, ()) if kind == entity}
        keys |= {key for kind, key in self._written if kind == entity}
        rows = (self.get(entity, key) for key in keys)
        return [row for row in rows if row is not None and row["CustomerRef"]["value"] == customer]

    def put(self, entity: str, body: Obj, operation: Operation = "Update") -> Obj:
        """Write a version: stamped, and with the next SyncToken (once a unit, however often it is written)."""
        key = (entity, body["Id"])
        at = stamp(self._stamp())
        before = self.company.objects[entity].get(body["Id"])
        if before is None:
            token, created = "0", at
            operation = "Create"
        else:
            token = str(int(before["SyncToken"]) + 1)
            created = before["MetaData"]["CreateTime"]
        body["domain"] = "QBO"
        body["sparse"] = False
        body["SyncToken"] = token
        body["MetaData"] = {"CreateTime": created, "LastUpdatedTime": at}
        self._written[key] = body
        if self._operations.get(key) in (None, "Update", "Relabel"):
            self._operations[key] = operation
        return body

    def relabel(self, entity: str, body: Obj) -> None:
        """Write a version without a new SyncToken or stamp (a name changed somewhere else)."""
        key = (entity, body["Id"])
        self._written[key] = body
        self._operations.setdefault(key, "Relabel")

    def drop(self, entity: str, key: str, operation: Operation = "Delete") -> None:
        """Delete an object for good."""
        self._written[entity, key] = None
        self._operations[entity, key] = operation

    def _stamp(self) -> float:
        # MetaData is rounded to the second: it may lie after the reply's own `time` (seen live).
        return float(int(self.at + self.company.switches.stamp_skew_seconds + 0.5))

    def commit(self) -> list[Change]:
        """Put everything into the books and tell the listeners; the changes in the order they were made."""
        when = self._stamp()
        changes, marks = [], []
        for (entity, key), body in self._written.items():
            operation = self._operations[entity, key]
            merged_into = self.merged.get((entity, key), "")
            changes.append(Change(self.at, self.actor, operation, entity, key, body, merged_into))
            marks.append(Mark(when, self.at, entity, key))
        self.company.apply(changes, marks)
        for listener in self.company.listeners:
            listener(self.company, changes, marks)
        return changes
