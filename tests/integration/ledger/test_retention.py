"""Retention: only what is long done goes, and a document's place in its history is never forgotten."""

from __future__ import annotations

from sqlalchemy import Connection, text

from services.database import Database
from services.ledger.retention import Retention
from tests.support.ledger import TENANT, company, operation, read


def document(
    connection: Connection, document_id: str, *, sequences: tuple[int, ...], applied: int | None = None
) -> None:
    """A document, or more of one, of which events came long ago."""
    values = {"t": TENANT, "id": document_id, "applied": applied or sequences[-1]}
    connection.execute(
        text(
            """INSERT INTO document (tenant_id, kind, document_id, state, applied_sequence)
               VALUES (:t, 'invoice', :id, 'finalized', :applied)
               ON CONFLICT (tenant_id, kind, document_id) DO UPDATE SET applied_sequence = :applied"""
        ),
        values,
    )
    for sequence in sequences:
        connection.execute(
            text(
                """INSERT INTO event (event_id, tenant_id, type, document_kind, document_id, sequence, data,
                                      occurred_at, state, received_at)
                   VALUES (gen_random_uuid(), :t, 'invoice.finalized.v1', 'invoice', :id, :s, '{}', now(),
                           'applied', '2020-01-01')"""
            ),
            {**values, "s": sequence},
        )


def test_only_what_is_long_done_is_forgotten(ledger: Database) -> None:
    """Unfinished and failed operations stay however old they are."""
    with ledger.transaction(TENANT) as connection:
        company_id = company(connection)
        done, fresh, failed = (operation(connection, company_id) for _ in range(3))
        for operation_id, state, age in ((done, "succeeded", 500), (fresh, "succeeded", 1)):
            connection.execute(
                text(
                    """UPDATE operation SET state = :state,
                              finished_at = clock_timestamp() - make_interval(days => :age) WHERE operation_id = :id"""
                ),
                {"state": state, "age": age, "id": operation_id},
            )
        connection.execute(
            text("UPDATE operation SET state = 'failed', created_at = '2020-01-01' WHERE operation_id = :id"),
            {"id": failed},
        )
    with ledger.transaction("*") as connection:
        assert Retention().forget(connection) == {"operations": 1, "events": 0}
        assert read(connection, fresh).state == "succeeded"
        assert read(connection, failed).state == "failed"


def test_the_newest_event_of_a_document_stays(ledger: Database) -> None:
    """Earlier events of a document go; the one that says where its sequence stands is kept."""
    with ledger.transaction(TENANT) as connection:
        document(connection, "i1", sequences=(1, 2))
    with ledger.transaction("*") as connection:
        assert Retention().forget(connection) == {"operations": 0, "events": 1}
        assert connection.execute(text("SELECT sequence FROM event")).scalar_one() == 2


def test_old_events_are_looked_at_in_turn(ledger: Database) -> None:
    """What stays is passed a slice at a time, and in the end everything was looked at; then it begins anew."""
    with ledger.transaction(TENANT) as connection:
        for number in range(5):
            document(connection, f"i{number}", sequences=(1,))
        document(connection, "i9", sequences=(1, 2))
    retention = Retention(look=2)
    runs = []
    for _ in range(5):
        with ledger.transaction("*") as connection:
            runs.append(retention.forget(connection)["events"])
    assert sum(runs) == 1
    with ledger.transaction(TENANT) as connection:
        document(connection, "i0", sequences=(2,), applied=2)
    for _ in range(5):
        with ledger.transaction("*") as connection:
            runs.append(retention.forget(connection)["events"])
    assert sum(runs) == 2
