"""Renewing secrets at rest: everything encrypted is written anew with the newest key, so that the old one can go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, text

from services.connections.vault import Vault

ENCRYPTED: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "app_credential": ("tenant_id", ("client_id", "client_secret")),
    "company_token": ("company_id", ("access_token", "refresh_token")),
    "subscription": ("subscription_id", ("secret",)),
}
"""Every table with encrypted columns: its key, and those columns."""


def renew(connection: Connection, vault: Vault) -> dict[str, int]:
    """Write every secret anew (scope: all tenants), in one transaction; returns how many rows of each table.

    Safe while the fleet runs: rows are locked one by one, and a token that is refreshed meanwhile is written with the
    newest key anyway. Raises `VaultError`, and changes nothing, when a secret fits none of the keys.
    """
    return {table: _renew(connection, vault, table, *columns) for table, columns in ENCRYPTED.items()}


def _renew(connection: Connection, vault: Vault, table: str, key: str, columns: tuple[str, ...]) -> int:
    names = ", ".join(columns)
    read = text(f"SELECT {key}, {names} FROM {table} ORDER BY {key} FOR UPDATE")  # noqa: S608 - our own names
    write = text(
        f"UPDATE {table} SET {', '.join(f'{one} = :{one}' for one in columns)} WHERE {key} = :key"  # noqa: S608 - our own names
    )
    rows = connection.execute(read).all()
    for identity, *secrets in rows:
        renewed = [None if secret is None else vault.renew(secret) for secret in secrets]
        connection.execute(write, {"key": identity, **dict(zip(columns, renewed, strict=True))})
    return len(rows)
