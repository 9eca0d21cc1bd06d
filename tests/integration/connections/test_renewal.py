"""Renewing secrets: afterwards the old key opens nothing and the new one everything, and no column is forgotten."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from services.connections import renewal
from services.connections.vault import Vault, VaultError, new_key
from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from tests.support.ledger import company

OLD, NEW = new_key(), new_key()
HASHES = {"secret_hash", "browser_hash", "payload_hash", "request_hash", "event_hash", "hash", "previous"}
BODIES = {"body", "before", "after"}


@pytest.fixture
def stored(database_url: str) -> str:
    """A database with one secret in each encrypted column, written with the old key."""
    vault = Vault([OLD])
    with Database(database_url, Role.FLEET) as database, database.transaction("t-1") as connection:
        company_id = company(connection, "t-1")
        connection.execute(
            text("INSERT INTO app_credential VALUES ('t-1', :a, :b, now(), 'maria')"),
            {"a": vault.encrypt("fake-id"), "b": vault.encrypt("fake-secret")},
        )
        connection.execute(
            text(
                """INSERT INTO company_token (company_id, tenant_id, access_token, refresh_token, access_expires_at,
                                              refresh_expires_at)
                   VALUES (:id, 't-1', :a, :b, now(), now())
                   ON CONFLICT (company_id) DO UPDATE SET access_token = :a, refresh_token = :b"""
            ),
            {"id": company_id, "a": vault.encrypt("fake-access"), "b": vault.encrypt("fake-refresh")},
        )
        connection.execute(
            text(
                """INSERT INTO subscription (tenant_id, kind, name, event_types, secret, per_minute, created_by)
                   VALUES ('t-1', 'webhook', 'psa', '{*}', :a, 60, 'maria'),
                          ('t-1', 'webhook', 'unsigned', '{*}', NULL, 60, 'maria')"""
            ),
            {"a": vault.encrypt("fake-signing")},
        )
    return database_url


def secrets(url: str) -> list[bytes]:
    """Every secret that is stored."""
    found: list[bytes] = []
    with Database(url, Role.FLEET) as database, database.transaction(ALL_TENANTS) as connection:
        for table, (_, columns) in renewal.ENCRYPTED.items():
            for row in connection.execute(text(f"SELECT {', '.join(columns)} FROM {table}")):
                found += [bytes(secret) for secret in row if secret is not None]
    return found


def renew(url: str, *keys: str) -> dict[str, int]:
    """Renew with these keys, the newest first."""
    with Database(url, Role.FLEET) as database, database.transaction(ALL_TENANTS) as connection:
        return renewal.renew(connection, Vault(keys))


def test_afterwards_the_old_key_can_go(stored: str) -> None:
    """All secrets open with the new key alone and say what they said; none opens with the old one."""
    assert renew(stored, NEW, OLD) == {"app_credential": 1, "company_token": 1, "subscription": 2}
    said = {Vault([NEW]).open(secret) for secret in secrets(stored)}
    assert said == {"fake-id", "fake-secret", "fake-access", "fake-refresh", "fake-signing"}
    for secret in secrets(stored):
        with pytest.raises(VaultError):
            Vault([OLD]).open(secret)


def test_a_missing_key_changes_nothing(stored: str) -> None:
    """Without the old key nothing can be renewed, and what is stored stays as it was."""
    before = secrets(stored)
    with pytest.raises(VaultError, match="cannot be opened with any key"):
        renew(stored, NEW)
    assert secrets(stored) == before


def test_no_encrypted_column_is_forgotten(stored: str) -> None:
    """Every bytea column is a hash, a message, or on the list."""
    query = text(
        """SELECT table_name, column_name FROM information_schema.columns
            WHERE table_schema = 'algasync' AND data_type = 'bytea'"""
    )
    with Database(stored, Role.OWNER) as database, database.transaction(ALL_TENANTS) as connection:
        found = {(row.table_name, row.column_name) for row in connection.execute(query)}
    listed = {(table, one) for table, (_, columns) in renewal.ENCRYPTED.items() for one in columns}
    assert {(table, one) for table, one in found if one not in HASHES | BODIES} == listed
