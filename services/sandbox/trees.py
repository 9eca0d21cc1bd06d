"""Rows below rows: customers, items, accounts, classes and departments stand at most five levels deep (6180).

https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.sandbox import faults
from services.sandbox.fields import Obj
from services.sandbox.references import resolve
from services.sandbox.store import Company, Unit

MAX_LEVELS = 5


def parent_of(unit: Unit, entity: str, row: Obj) -> Obj | None:
    """The row above, None at the top; refuses a row below itself, and a sixth level (its own branches counted)."""
    parent = resolve(unit, row, "ParentRef", entity, named=entity != "Customer")
    if parent is None:
        return None
    above = [parent, *ancestors(unit.company, entity, parent)]
    if any(found["Id"] == row.get("Id") for found in above):
        raise faults.business(f"A {entity} cannot be its own parent.", element="ParentRef")
    if len(above) + _height(unit.company, entity, row.get("Id", "")) > MAX_LEVELS:
        raise faults.Refusal(
            "6180",
            "Sub-level limit exceeded",
            f"A {entity} can have at most {MAX_LEVELS} levels.",
            "ParentRef",
        )
    return parent


def ancestors(company: Company, entity: str, row: Obj) -> Iterator[Obj]:
    """The rows above, nearest first."""
    while parent := row.get("ParentRef"):
        row = company.objects[entity][parent["value"]]
        yield row


def children(company: Company, entity: str, key: str) -> Iterable[Obj]:
    """The rows directly below."""
    if entity == "Customer":
        return [company.objects[entity][child] for child in company.children(key)]
    return [row for row in company.all(entity) if row.get("ParentRef", {}).get("value") == key]


def full_name(parent: Obj | None, name: str) -> str:
    """`Parent:Child`."""
    return f"{parent['FullyQualifiedName']}:{name}" if parent else name


def _height(company: Company, entity: str, key: str) -> int:
    return 1 + max((_height(company, entity, row["Id"]) for row in children(company, entity, key)), default=0)
