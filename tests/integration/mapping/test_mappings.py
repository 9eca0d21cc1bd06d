"""Mappings: one statement a document, every change audited, and what failed for one is released by setting it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from services.connections import companies
from services.ledger import timeline
from services.mapping import mappings
from services.mapping.mappings import Key, Kind, Mapping
from services.refusals import Refusal
from tests.support.intuit import Noted

TENANT = "tenant-a"


def put(connection: Connection, company_id: UUID, at: Key, external_id: str = "17", **rest: Any) -> Mapping:
    """Set a mapping; nothing is released."""
    rest.setdefault("on_mapping_set", lambda *_: None)
    return mappings.put(connection, TENANT, company_id, at, external_id=external_id, actor="maria", **rest)


def test_a_document_is_looked_up_in_one_statement(
    connection: Connection, company_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items, category, tax code and term of a whole invoice come with a single query; what lacks is missing."""
    at = [
        ("item", "svc-1", ""),
        ("item", "svc-2", ""),
        ("tax_code", "us-ca", "taxable"),
        ("term", "net_30", ""),
    ]
    for number, place in enumerate(at):
        put(connection, company_id, place, str(number))
    statements: list[Any] = []
    execute = psycopg.Cursor.execute

    def noting(cursor: psycopg.Cursor[Any], query: Any, *given: Any, **named: Any) -> Any:
        statements.append(query)
        return execute(cursor, query, *given, **named)

    monkeypatch.setattr(psycopg.Cursor, "execute", noting)
    found = mappings.lookup(connection, company_id, {*at, ("item", "svc-3", ""), ("tax_code", "us-ca", "")})
    assert len(statements) == 1
    assert {place: mapping.external_id for place, mapping in found.items()} == {
        place: str(number) for number, place in enumerate(at)
    }
    assert mappings.lookup(connection, company_id, set()) == {}


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), max_size=30).filter(str.isprintable)
_PLACE = st.tuples(st.sampled_from(["item", "customer"]), _TEXT.filter(bool), _TEXT)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.sets(_PLACE, max_size=6))
def test_any_text_is_a_key(places: set[Key], connection: Connection, company_id: UUID) -> None:
    """Quotes, commas, braces, accents: what was mapped is found, and nothing else."""
    with connection.begin_nested() as savepoint:
        for place in places:
            put(connection, company_id, place)
        strangers = {("item", key + "x", variant) for _, key, variant in places} - places
        assert set(mappings.lookup(connection, company_id, places | strangers)) == places
        savepoint.rollback()


def test_companies_do_not_share(connection: Connection, company_id: UUID) -> None:
    """What is mapped in one company is not in another one."""
    other = companies.activate(
        connection, TENANT, environment="sandbox", realm_id="2", actor="test", attention=Noted()
    ).company_id
    put(connection, company_id, ("item", "svc-1", ""))
    assert mappings.lookup(connection, other, {("item", "svc-1", "")}) == {}


def test_every_change_is_in_the_timeline(connection: Connection, company_id: UUID) -> None:
    """Set, changed, deleted: who, and the value before and after; deleting what is not there is told."""
    at = ("item", "svc-1", "")
    put(connection, company_id, at, "17", external_name="Backup")
    put(connection, company_id, at, "18", details={"class": "3"})
    assert mappings.delete(connection, TENANT, company_id, at, actor="erik")
    assert not mappings.delete(connection, TENANT, company_id, at, actor="erik")
    subject = mappings.cause("item", company_id, "svc-1")
    entries = timeline.read(connection, TENANT, "mapping", subject)
    changes = [(one.actor, one.action, one.details["before"], one.details["after"]) for one in entries]
    backup = {"external_id": "17", "external_name": "Backup", "details": {}}
    newer = {"external_id": "18", "external_name": "", "details": {"class": "3"}}
    assert changes == [
        ("maria", "mapped", None, backup),
        ("maria", "mapped", backup, newer),
        ("erik", "unmapped", newer, None),
    ]


def test_setting_one_calls_for_what_failed(connection: Connection, company_id: UUID) -> None:
    """The hook hears tenant and cause, after the mapping can be seen, in the same transaction."""
    heard: list[tuple[str, str, bool]] = []

    def hook(inside: Connection, tenant: str, cause: str) -> None:
        seen = mappings.lookup(inside, company_id, {("tax_code", "us-ca", "exempt")})
        heard.append((tenant, cause, bool(seen)))

    put(connection, company_id, ("tax_code", "us-ca", "exempt"), on_mapping_set=hook)
    assert heard == [(TENANT, f"mapping:tax_code:{company_id}:us-ca", True)]


@pytest.mark.parametrize(
    ("at", "changes", "field"),
    [
        (("thing", "a", ""), {}, "kind"),
        (("item", "", ""), {}, "key"),
        (("discount_item", "x", ""), {}, "key"),
        (("item", "x" * 256, ""), {}, "key"),
        (("item", "a\nb", ""), {}, "key"),
        (("customer", "c", "x" * 256), {}, "variant"),
        (("item", "a", ""), {"external_id": ""}, "external_id"),
        (("item", "a", ""), {"external_id": "1\x00"}, "external_id"),
        (("item", "a", ""), {"external_name": "x" * 256}, "external_name"),
        (("item", "a", ""), {"details": {"a": "x" * 4096}}, "details"),
    ],
)
def test_bad_mappings_are_refused(
    at: Key, changes: dict[str, Any], field: str, connection: Connection, company_id: UUID
) -> None:
    """The field is named, and nothing is written."""
    with pytest.raises(Refusal) as refused:
        put(connection, company_id, at, **changes)
    assert refused.value.field == field
    assert mappings.page(connection, TENANT, company_id) == []


def test_unknown_company_is_refused(connection: Connection) -> None:
    """A mapping belongs to a company of the tenant."""
    with pytest.raises(Refusal, match="no QuickBooks company"):
        put(connection, uuid4(), ("item", "a", ""))


def test_discount_item_has_no_key(connection: Connection, company_id: UUID) -> None:
    """A company has one discount item."""
    put(connection, company_id, (Kind.DISCOUNT_ITEM, "", ""))
    assert mappings.lookup(connection, company_id, {("discount_item", "", "")})


def test_pages_are_in_order_and_complete(connection: Connection, company_id: UUID) -> None:
    """Page by page every mapping comes once, also when one is added behind the cursor meanwhile."""
    for number in range(7):
        put(connection, company_id, ("item", f"svc-{number}", ""))
    first = mappings.page(connection, TENANT, company_id, limit=3)
    put(connection, company_id, ("item", "svc-00", ""))
    second = mappings.page(connection, TENANT, company_id, after=first[-1].at, limit=10)
    assert [one.key for one in first + second] == [f"svc-{number}" for number in range(7)]
    assert mappings.page(connection, TENANT, company_id, kind=Kind.TERM) == []
