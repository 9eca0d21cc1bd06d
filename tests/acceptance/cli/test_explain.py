"""`algasync explain` at a terminal."""

from __future__ import annotations

from sqlalchemy import text

from services.database import Database, Role
from tests.support.desk import Installed, World


def test_a_document_is_explained(desk: Installed, world: World) -> None:
    """Its steps in words, what is owed, and that the chain holds; JSON has the same."""
    one = world.failed("inv-1")
    said = desk("explain", f"{one.document_kind}/{one.document_id}")
    assert "chain intact" in said
    assert "needs a person" in said
    told = desk.json("explain", f"{one.document_kind}/{one.document_id}", "--tenant", world.tenant)
    assert told["intact"] is True
    assert told["moment"]["operations"][str(one.operation_id)] == "failed"
    assert desk.json("explain", f"invoice/{one.document_id}", "--as-of", "7d")["steps"] == []


def test_a_document_nobody_knows_is_named(desk: Installed, world: World) -> None:
    """Wrong input: exit code 2 and the forms that are understood."""
    assert "no document is known as 'INV-9'; give kind/id" in desk("explain", "INV-9", exit_code=2)


def test_a_broken_chain_is_a_finding(desk: Installed, world: World) -> None:
    """Whoever changed the past is found out: exit code 1, so that a script can watch for it."""
    one = world.failed("inv-1")
    with Database(world.fleet.url, Role.OWNER) as owner, owner.transaction(world.tenant) as connection:
        connection.execute(text("ALTER TABLE timeline DISABLE TRIGGER USER"))
        connection.execute(text("UPDATE timeline SET actor = 'nobody'"))
    assert "BROKEN" in desk("explain", f"invoice/{one.document_id}", exit_code=1)
