"""Secrets at rest: encrypted with rotating keys, opened only where they are used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from services.configuration import Configuration

KEY_FILE = "secret.keys"


class VaultError(Exception):
    """A secret cannot be encrypted or opened; the message says what to do and never what the secret is."""


class Vault:
    """Encrypts with the newest key and opens with any, so that keys can be rotated while the fleet runs."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise VaultError("no secret key is set; ALGASYNC_SECRET_KEYS needs at least one Fernet key")
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as refused:
            raise VaultError(
                "ALGASYNC_SECRET_KEYS holds something that is not a Fernet key (32 bytes, base64);"
                " python -c 'from cryptography.fernet import Fernet as F; print(F.generate_key().decode())'"
                " makes one"
            ) from refused

    @classmethod
    def of(cls, configuration: Configuration) -> Vault:
        """This installation's vault: the keys of the settings, else those of a file in the data folder."""
        if configuration.secret_keys:
            return cls([key.get_secret_value() for key in configuration.secret_keys])
        return cls(_keys_in(configuration.data))

    def encrypt(self, secret: str) -> bytes:
        """Encrypt a secret for a bytea column."""
        return self._fernet.encrypt(secret.encode())

    def open(self, encrypted: bytes) -> str:
        """Open what `encrypt` wrote. Raises `VaultError` when none of the keys fits."""
        try:
            return self._fernet.decrypt(bytes(encrypted)).decode()
        except InvalidToken:
            raise VaultError(
                "a stored secret was encrypted with a key that is not set any more;"
                " put the old key back behind the new one in ALGASYNC_SECRET_KEYS"
            ) from None

    def renew(self, encrypted: bytes) -> bytes:
        """Encrypt a stored secret again, with the newest key; for the day an old key shall go.

        Raises `VaultError` when no key opens it.
        """
        try:
            return self._fernet.rotate(bytes(encrypted))
        except InvalidToken:
            raise VaultError(
                "a stored secret cannot be opened with any key of ALGASYNC_SECRET_KEYS"
            ) from None


def new_key() -> str:
    """A fresh Fernet key, as text."""
    return Fernet.generate_key().decode()


def _keys_in(folder: Path) -> list[str]:
    """Keys of the data folder's key file, newest first; made for its owner only when it is missing."""
    path = folder / KEY_FILE
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with _complete(folder) as written:
            written.write_text(new_key() + "\n")
            # A link is made once and whole, or not at all: processes that start together share one key.
            with suppress(FileExistsError):
                os.link(written, path)
    if path.stat().st_mode & 0o077:
        raise VaultError(f"{path} may be read by others; make it private: chmod 600 {path}")
    return path.read_text().split()


@contextmanager
def _complete(folder: Path) -> Iterator[Path]:
    with NamedTemporaryFile(dir=folder, prefix=f".{KEY_FILE}.") as file:  # made with mode 0600
        yield Path(file.name)
