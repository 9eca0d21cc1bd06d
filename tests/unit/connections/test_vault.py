"""The vault: keys rotate, key files are private and shared, and no secret shows in an error."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from services.configuration import Configuration
from services.connections.vault import KEY_FILE, Vault, VaultError, new_key

SECRET = "not-a-real-secret-0001"


def test_secret_comes_back_and_is_not_readable() -> None:
    """What is stored does not contain the secret, and opens to it again."""
    vault = Vault([new_key()])
    stored = vault.encrypt(SECRET)
    assert SECRET.encode() not in stored
    assert vault.open(stored) == SECRET


def test_keys_rotate() -> None:
    """A new key in front: old secrets still open, and a renewed one opens without the old key."""
    old, new = new_key(), new_key()
    stored = Vault([old]).encrypt(SECRET)
    both = Vault([new, old])
    assert both.open(stored) == SECRET
    assert Vault([new]).open(both.renew(stored)) == SECRET


def test_lost_key_is_said_in_words_without_the_secret() -> None:
    """A secret whose key is gone names the setting to mend and nothing else."""
    stored = Vault([new_key()]).encrypt(SECRET)
    for act in (Vault([new_key()]).open, Vault([new_key()]).renew):
        with pytest.raises(VaultError, match="ALGASYNC_SECRET_KEYS") as refused:
            act(stored)
        assert SECRET not in str(refused.value)


def test_bad_key_is_named_by_its_setting() -> None:
    """Something that is no Fernet key is refused, and not repeated in the error."""
    with pytest.raises(VaultError, match="ALGASYNC_SECRET_KEYS") as refused:
        Vault(["hunter2"])
    assert "hunter2" not in str(refused.value)
    with pytest.raises(VaultError):
        Vault([])


def test_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    """Processes that start together on an empty data folder share one key, readable by its owner only."""
    configuration = Configuration(data=tmp_path / "data")
    vaults: list[Vault] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        vaults.append(Vault.of(configuration))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = vaults[0].encrypt(SECRET)
    assert [vault.open(stored) for vault in vaults] == [SECRET] * 8
    assert (tmp_path / "data" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == [KEY_FILE]


def test_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """A key file with open permissions is an error that says how to close them."""
    Vault.of(Configuration(data=tmp_path))
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(VaultError, match="chmod 600"):
        Vault.of(Configuration(data=tmp_path))


def test_settings_win_over_the_file(tmp_path: Path) -> None:
    """With keys in the settings no file is made."""
    key = new_key()
    vault = Vault.of(Configuration(data=tmp_path, secret_keys=[key]))
    assert Vault([key]).open(vault.encrypt(SECRET)) == SECRET
    assert not list(tmp_path.iterdir())
