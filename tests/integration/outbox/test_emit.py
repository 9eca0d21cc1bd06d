"""Emit: in the caller's transaction, numbered without gaps, once per idempotency key, and nothing but that."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import Session as OrmSession

import outbox
from messages import InvalidData, InvalidEnvelope, UnknownType, parse, samples
from outbox import EmitError
from services.database import Database, Role
from tests.integration.outbox.events import (
    VOIDED,
    Session,
    billing_system,
    emit,
    emit_data,
    invoice,
    voided,
)
from tests.support import eventually

REFUSED = psycopg.errors.InvalidParameterValue


def sequences(owner: Session, document_id: str) -> list[int]:
    """Numbers of the events of a document that are in the outbox."""
    rows = owner.execute(
        "SELECT sequence FROM outbox_event WHERE subject = %s ORDER BY sequence", (document_id,)
    )
    return [row[0] for row in rows]


def nothing_written(owner: Session) -> bool:
    """Whether no table of the outbox holds a row."""
    tables = ("outbox_event", "document_sequence", "outbox_idempotency")
    return not any(owner.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in tables)


# --- by SQL ---


def test_an_event_and_its_number_are_rolled_back_with_the_caller(database_url: str, owner: Session) -> None:
    """A billing transaction that fails says nothing and leaves no gap."""
    with billing_system(database_url) as psa:
        emit(psa, "t1", "inv-1")
        psa.rollback()
        assert nothing_written(owner)
        assert emit(psa, "t1", "inv-1")[1] == 1


def test_the_message_is_what_readers_parse(database_url: str, owner: Session) -> None:
    """What SQL writes is a CloudEvents message that messages/ reads back, with all it was given."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    happened = datetime(2026, 4, 1, 2, 0, 0, 123456, tzinfo=UTC)
    with billing_system(database_url) as psa:
        event_id, sequence = emit_data(
            psa,
            "t1",
            "invoice.finalized.v1",
            "inv-1",
            invoice("inv-1", 10_000, 3_500, tax=1_080),
            occurred_at=happened,
            source="//psa.example.com/billing",
            traceparent=trace,
        )
    row = owner.execute(
        "SELECT body, exchange, type, document_kind, traceparent FROM outbox_event"
    ).fetchone()
    assert row is not None
    assert row[1:] == ("billing", "invoice.finalized.v1", "invoice", trace)
    read = parse(row[0].encode())
    assert (read.id, read.sequence, read.time, read.tenantid) == (event_id, sequence, happened, "t1")
    assert (read.source, read.traceparent) == ("//psa.example.com/billing", trace)
    assert read.data.plain() == invoice("inv-1", 10_000, 3_500, tax=1_080)


def test_numbers_have_no_gap_under_concurrency(database_url: str, owner: Session) -> None:
    """Eight sessions emit about two documents at once and roll every third back: 1, 2, 3, ... for each document."""

    def work(worker: int) -> int:
        kept = 0
        with billing_system(database_url) as psa:
            for turn in range(15):
                emit(psa, "t1", f"inv-{turn % 2}")
                if (turn + worker) % 3:
                    psa.commit()
                    kept += 1
                else:
                    psa.rollback()
        return kept

    with ThreadPoolExecutor(8) as pool:
        kept = sum(pool.map(work, range(8)))
    first, second = sequences(owner, "inv-0"), sequences(owner, "inv-1")
    assert first == list(range(1, len(first) + 1))
    assert second == list(range(1, len(second) + 1))
    assert len(first) + len(second) == kept


def test_documents_and_tenants_count_apart(database_url: str) -> None:
    """The same id in another tenant is another document; so is another kind with that id."""
    with billing_system(database_url) as psa:
        assert emit(psa, "t1", "x")[1] == 1
        assert emit(psa, "t1", "x")[1] == 2
        assert emit(psa, "t2", "x")[1] == 1
        assert emit_data(psa, "t1", "credit_note.voided.v1", "x", voided("x"))[1] == 1


def test_a_repeated_key_returns_the_first_event_and_emits_nothing(database_url: str, owner: Session) -> None:
    """A billing system that is not sure whether it emitted says it again, also after the event is long gone."""
    with billing_system(database_url) as psa:
        first = emit(psa, "t1", "inv-1", idempotency_key="run-7")
        psa.commit()
        owner.execute("DELETE FROM outbox_event")
        assert emit(psa, "t1", "inv-1", idempotency_key="run-7") == first
        assert emit(psa, "t2", "inv-1", idempotency_key="run-7") != first
    assert sequences(owner, "inv-1") == [1]


def test_a_key_reused_for_something_else_is_refused(database_url: str, owner: Session) -> None:
    """The same key with other data is a mistake somebody must hear of, not a repetition."""
    with billing_system(database_url) as psa:
        emit(psa, "t1", "inv-1", idempotency_key="run-7")
        psa.commit()
        with pytest.raises(psycopg.errors.UniqueViolation, match=r"'run-7' was used on .* for another event"):
            emit(psa, "t1", "inv-2", idempotency_key="run-7")
    assert sequences(owner, "inv-2") == []


def test_concurrent_repeats_of_a_key_emit_once(database_url: str, owner: Session) -> None:
    """The second of two simultaneous calls waits for the first, and gets its answer."""
    with (
        billing_system(database_url) as one,
        billing_system(database_url) as two,
        ThreadPoolExecutor(1) as pool,
    ):
        first = emit(one, "t1", "inv-1", idempotency_key="run-7")
        second = pool.submit(emit, two, "t1", "inv-1", idempotency_key="run-7")
        waiting = """SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND wait_event_type = 'Lock'"""
        eventually(lambda: owner.execute(waiting).fetchone() == (1,), what="the second emit waits")
        one.commit()
        assert second.result(timeout=10) == first
    assert sequences(owner, "inv-1") == [1]


def test_a_repeat_after_a_rolled_back_first_emits(database_url: str, owner: Session) -> None:
    """A key is used only once its transaction has committed."""
    with billing_system(database_url) as psa:
        emit(psa, "t1", "inv-1", idempotency_key="run-7")
        psa.rollback()
        assert emit(psa, "t1", "inv-1", idempotency_key="run-7")[1] == 1
    assert sequences(owner, "inv-1") == [1]


def test_a_given_id_is_kept_and_used_once(database_url: str, owner: Session) -> None:
    """An event that comes with its id keeps it; the same id again is a repetition, under another key a mistake."""
    given = uuid4()
    with billing_system(database_url) as psa:
        assert emit(psa, "t1", "inv-1", id=given) == (given, 1)
        assert emit(psa, "t1", "inv-1", id=given) == (given, 1)
        psa.commit()
        with pytest.raises(psycopg.errors.UniqueViolation, match="belongs to an event emitted under another"):
            emit(psa, "t1", "inv-1", id=given, idempotency_key="another")
    assert sequences(owner, "inv-1") == [1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"total": 13_501},
            r"data\.total is 13501, but the lines \(13500\) and the tax \(0\) add up to 13500",
        ),
        ({"total": 135.0}, r"data\.total is 135\.0; send an integer of minor units"),
        ({"subtotal": 13_000}, r"data\.subtotal is 13000; with tax 0 and discount 0 it does not lead to"),
        (
            {"tax_source": "internal", "tax": 5, "total": 13_505},
            r"data\.tax is 5, but the tax_amount of the lines",
        ),
        ({"currency": "usd"}, r"data\.currency is \"usd\"; send an ISO 4217 currency code"),
        ({"client": None}, r"data\.client is null; send a JSON object"),
        ({"id": "other"}, r"subject is 'inv-1', but data\.id is 'other'; send the document's id as subject"),
    ],
)
def test_a_document_that_is_wrong_is_refused(
    database_url: str, owner: Session, change: dict[str, object], said: str
) -> None:
    """The error names the field, what is wrong with it and what to do; nothing is written."""
    with billing_system(database_url) as psa, pytest.raises(REFUSED, match=said) as refused:
        emit_data(psa, "t1", "invoice.finalized.v1", "inv-1", invoice("inv-1", 13_500) | change)
    assert "Nothing was emitted" in (refused.value.diag.message_hint or "")
    assert nothing_written(owner)


def test_a_message_over_one_megabyte_is_refused(database_url: str, owner: Session) -> None:
    """The whole message counts, and the error says by how much it is too large."""
    with billing_system(database_url) as psa:
        emit_data(psa, "t1", VOIDED, "inv-1", voided("inv-1") | {"note": "x" * 1_048_000})
        psa.rollback()
        with pytest.raises(REFUSED, match=r"the message has 1,048,\d+ bytes and may have 1,048,576"):
            emit_data(psa, "t1", VOIDED, "inv-1", voided("inv-1") | {"note": "x" * 1_048_500})
    assert nothing_written(owner)


def test_data_nested_too_deep_is_refused(database_url: str, owner: Session) -> None:
    """What readers would refuse to unpack is not emitted."""
    deep: object = "x"
    for _ in range(40):
        deep = [deep]
    with billing_system(database_url) as psa, pytest.raises(REFUSED, match="nested deeper than 32"):
        emit_data(psa, "t1", VOIDED, "inv-1", voided("inv-1") | {"extra": deep})
    assert nothing_written(owner)


@pytest.mark.parametrize(
    "type_",
    [
        "invoice.finalised.v1",
        "invoice.voided.v2",
        "",
        "document.synced.v1",
        "com.algapsa.accounting.document.synced.v1",
    ],
)
def test_an_unknown_type_is_refused(database_url: str, owner: Session, type_: str) -> None:
    """A type this version does not know, or that only we may use, is refused with the list of those it may."""
    with (
        billing_system(database_url) as psa,
        pytest.raises(REFUSED, match="no billing event has that name") as refused,
    ):
        emit_data(psa, "t1", type_, "inv-1", voided("inv-1"))
    assert "invoice.voided.v1" in (refused.value.diag.message_hint or "")
    assert nothing_written(owner)


def test_the_full_name_of_a_type_is_taken_too(database_url: str, owner: Session) -> None:
    """CloudEvents names and routing keys mean the same."""
    with billing_system(database_url) as psa:
        emit_data(psa, "t1", "com.algapsa.billing.invoice.voided.v1", "inv-1", voided("inv-1"))
    assert owner.execute("SELECT type FROM outbox_event").fetchall() == [(VOIDED,)]


@pytest.mark.parametrize("tenant", ["", " ", "*", "a\nb", "x" * 201, None])
def test_a_tenant_that_names_nobody_is_refused(database_url: str, tenant: str | None) -> None:
    """No event without an owner, and none that belongs to everybody."""
    with billing_system(database_url) as psa, pytest.raises(REFUSED, match=r"(?s)tenant .* refused"):
        emit_data(psa, tenant, VOIDED, "inv-1", voided("inv-1"))  # type: ignore[arg-type]  # None is what is tested


def test_the_scope_of_a_transaction_binds_the_tenant(database_url: str) -> None:
    """A billing system that scopes its transactions cannot emit for another tenant by mistake."""
    with billing_system(database_url) as psa:
        psa.execute("SET algasync.tenant = 't1'")
        emit(psa, "t1", "inv-1")
        with pytest.raises(
            psycopg.errors.InsufficientPrivilege, match="tenant t2 emitted from the scope of t1"
        ):
            emit(psa, "t2", "inv-1")


def test_the_api_emits_only_for_the_tenant_it_serves(database_url: str) -> None:
    """No scope, or another tenant's, is no permission."""
    with psycopg.connect(database_url, options="-c role=algasync_api -c search_path=algasync") as api:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="from the scope of no tenant"):
            emit(api, "t1", "inv-1")
        api.rollback()
        api.execute("SET algasync.tenant = '*'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"from the scope of \*"):
            emit(api, "t1", "inv-1")


def test_the_emitting_role_can_do_nothing_else(database_url: str, owner: Session) -> None:
    """Of everything in the schema, a PSA's login may call one function: no table, no sequence, no other function."""
    allowed = {
        row[0]
        for row in owner.execute(
            """SELECT p.proname FROM pg_proc p
                WHERE p.pronamespace = 'algasync'::regnamespace
                  AND has_function_privilege('algasync_emit', p.oid, 'EXECUTE')"""
        )
    }
    assert allowed == {"outbox_emit_v1"}
    readable = owner.execute(
        """SELECT c.relname FROM pg_class c
            WHERE c.relnamespace = 'algasync'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
              AND (has_any_column_privilege('algasync_emit', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
                   OR has_table_privilege('algasync_emit', c.oid, 'DELETE, TRUNCATE, TRIGGER'))"""
    )
    assert readable.fetchall() == []
    usable = owner.execute(
        """SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'algasync'::regnamespace
              AND CASE WHEN c.relkind = 'S'
                   THEN has_sequence_privilege('algasync_emit', c.oid, 'USAGE, SELECT, UPDATE') END"""
    )
    assert usable.fetchall() == []
    with billing_system(database_url) as psa, pytest.raises(psycopg.errors.InsufficientPrivilege):
        psa.execute("CREATE TABLE algasync.mine (x int)")


def test_a_login_cannot_slip_its_own_tables_under_the_function(database_url: str) -> None:
    """Temporary tables of the caller are not what the function reads, although it runs with the owner's rights."""
    with billing_system(database_url) as psa:
        psa.execute(
            """CREATE TEMP TABLE event_type AS
               SELECT 'mine.v1' AS type, 'billing' AS exchange, 'x' AS document_kind, 'id' AS id_field,
                      NULL::text AS shape, NULL::text AS adds_up"""
        )
        with pytest.raises(REFUSED, match="no billing event has that name"):
            emit_data(psa, "t1", "mine.v1", "x", {"id": "x"})


# --- by Python ---


def test_python_emits_in_one_statement(fleet: Database, owner: Session) -> None:
    """Emitting adds one round trip to the caller's transaction, and is rolled back with it."""
    statements: list[str] = []
    with fleet.transaction("t1") as connection:
        sqlalchemy_event.listen(
            connection, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
        )
        emitted = outbox.emit(connection, "t1", VOIDED, "inv-1", voided("inv-1"))
    assert len(statements) == 1
    assert isinstance(emitted.event_id, UUID)
    assert emitted.sequence == 1
    with fleet.engine.connect() as connection:
        connection.exec_driver_sql("SELECT set_config('algasync.tenant', 't1', true)")
        assert outbox.emit(connection, "t1", VOIDED, "inv-1", voided("inv-1")).sequence == 2
        connection.rollback()
    assert sequences(owner, "inv-1") == [1]


def test_python_takes_a_session_and_models(fleet: Database, owner: Session) -> None:
    """An ORM session works as a connection does; a model works as JSON does."""
    read = parse(samples.read("com.algapsa.billing.invoice.finalized.v1"))
    with OrmSession(fleet.engine) as session, session.begin():
        session.connection().exec_driver_sql(f"SELECT set_config('algasync.tenant', '{read.tenantid}', true)")
        emitted = outbox.emit(session, read.tenantid, read.type, read.subject, read.data)
    row = owner.execute("SELECT body FROM outbox_event WHERE event_id = %s", (emitted.event_id,)).fetchone()
    assert row is not None
    assert parse(row[0].encode()).data == read.data


def test_an_event_with_its_envelope_keeps_it(fleet: Database, owner: Session) -> None:
    """Id, time, source and trace of an event received from outside stay; only the number is ours."""
    received = parse(samples.read("com.algapsa.billing.payment.recorded.v1"))
    for _ in range(2):
        with fleet.transaction(received.tenantid) as connection:
            assert outbox.emit_event(connection, received) == (received.id, 1)
    rows = owner.execute("SELECT body FROM outbox_event").fetchall()
    assert len(rows) == 1
    written = parse(rows[0][0].encode())
    assert (written.id, written.time, written.source, written.traceparent) == (
        received.id,
        received.time,
        received.source,
        received.traceparent,
    )


def test_fields_the_contract_does_not_know_stay_in_the_message(fleet: Database, owner: Session) -> None:
    """A newer billing system may say more than this version reads; nothing it said is thrown away."""
    with fleet.transaction("t1") as connection:
        outbox.emit(connection, "t1", VOIDED, "inv-1", voided("inv-1") | {"mood": "good"})
    (body,) = owner.execute("SELECT body FROM outbox_event").fetchone() or ("{}",)
    assert json.loads(body)["data"]["mood"] == "good"


@pytest.mark.parametrize("name", [name for name in samples.names() if ".accounting." in name])
def test_our_own_events_are_numbered_by_the_document_they_are_about(
    fleet: Database, owner: Session, name: str
) -> None:
    """What we tell billing goes to the other exchange, counted apart from what billing says of the document."""
    event = parse(samples.read(name))
    with fleet.transaction(event.tenantid) as connection:
        outbox.emit(connection, event.tenantid, event.entry.routing_key, event.subject, event.data)
    row = owner.execute(
        "SELECT exchange, type, document_kind, subject, sequence, body FROM outbox_event"
    ).fetchone()
    assert row is not None
    assert row[:5] == ("accounting", event.entry.routing_key, event.document.kind, event.subject, 1)
    assert parse(row[5].encode()).data == event.data


def test_python_refuses_before_it_asks_the_database(fleet: Database, owner: Session) -> None:
    """Bad data leaves the caller's transaction usable: it may catch the error and go on."""
    with fleet.transaction("t1") as connection:
        with pytest.raises(InvalidData, match=r"data\.date is '31 March'"):
            outbox.emit(connection, "t1", VOIDED, "inv-1", voided("inv-1") | {"date": "31 March"})
        with pytest.raises(UnknownType):
            outbox.emit(connection, "t1", "invoice.voidd.v1", "inv-1", voided("inv-1"))
        with pytest.raises(
            InvalidEnvelope, match="subject is 'inv-2', but the data is about invoice 'inv-1'"
        ):
            outbox.emit(connection, "t1", VOIDED, "inv-2", voided("inv-1"))
        with pytest.raises(InvalidData, match="holds what JSON has no form for"):
            outbox.emit(connection, "t1", VOIDED, "inv-1", voided("inv-1") | {"at": datetime.now(UTC)})
        outbox.emit(connection, "t1", VOIDED, "inv-1", voided("inv-1"))
    assert sequences(owner, "inv-1") == [1]


def test_what_the_database_refuses_has_a_reason(fleet: Database) -> None:
    """A caller can tell a reused key from a foreign tenant without reading sentences."""
    with fleet.transaction("t1") as connection:
        outbox.emit(connection, "t1", VOIDED, "inv-1", voided("inv-1"), idempotency_key="k")
    with pytest.raises(EmitError, match="'k' was used on") as reused, fleet.transaction("t1") as connection:
        outbox.emit(connection, "t1", VOIDED, "inv-2", voided("inv-2"), idempotency_key="k")
    assert reused.value.reason == "key_reused"
    with (
        pytest.raises(EmitError, match="from the scope of t1") as foreign,
        fleet.transaction("t1") as connection,
    ):
        outbox.emit(connection, "t2", VOIDED, "inv-1", voided("inv-1"))
    assert foreign.value.reason == "not_allowed"
    with (
        pytest.raises(EmitError, match=r"(?s)source .* refused") as refused,
        fleet.transaction("t1") as connection,
    ):
        outbox.emit(connection, "t1", VOIDED, "inv-1", voided("inv-1"), source="a b\n")
    assert refused.value.reason == "refused"


def test_the_api_may_tell_billing_and_billing_may_not_tell_itself(database_url: str) -> None:
    """Accounting events are ours: the API and the fleet emit them, a billing login cannot."""
    event = parse(samples.read("com.algapsa.accounting.exception.resolved.v1"))
    with Database(database_url, Role.API) as api, api.transaction(event.tenantid) as connection:
        emitted = outbox.emit(connection, event.tenantid, event.entry.routing_key, event.subject, event.data)
    assert emitted.sequence == 1
    with (
        Database(database_url, Role.EMIT) as psa,
        psa.engine.connect() as connection,
        pytest.raises(EmitError) as refused,
    ):
        outbox.emit(connection, event.tenantid, event.entry.routing_key, event.subject, event.data)
    assert refused.value.reason == "not_allowed"
