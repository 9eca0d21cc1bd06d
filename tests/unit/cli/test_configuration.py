"""Settings of a process: from the environment, and secrets from files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.configuration import Configuration, configuration
from services.refusals import Refusal

FILES = {
    "DATABASE_URL": "postgresql://u:p@db/x\n",
    "ALGASYNC_SECRET_KEYS": "fake-key-1,fake-key-2\n",
    "BROKER_URL": "amqp://b\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of secrets as an orchestrator mounts it, and a process that is told of it."""
    for name, value in FILES.items():
        (tmp_path / name).write_text(value)
    for name in ("DATABASE_URL", "BROKER_URL", "ALGASYNC_SECRET_KEYS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALGASYNC_SECRETS_DIR", str(tmp_path))
    return tmp_path


def read() -> Configuration:
    """The settings as a new process reads them."""
    return configuration.__wrapped__()


@pytest.mark.usefixtures("folder")
def test_secrets_come_from_files() -> None:
    """A mounted file named like the variable gives its value, without the line end."""
    settings = read()
    assert settings.database_url == "postgresql://u:p@db/x"
    assert settings.broker_url == "amqp://b"
    assert [key.get_secret_value() for key in settings.secret_keys] == ["fake-key-1", "fake-key-2"]


@pytest.mark.usefixtures("folder")
def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator sets for one process beats the shared file."""
    monkeypatch.setenv("BROKER_URL", "amqp://other")
    assert read().broker_url == "amqp://other"


def test_a_missing_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A mount that failed stops the process with the setting's name; it does not fall back to embedded servers."""
    monkeypatch.setenv("ALGASYNC_SECRETS_DIR", str(tmp_path / "gone"))
    with pytest.raises(Refusal, match=r"there is no folder .*gone") as refused:
        read()
    assert refused.value.field == "ALGASYNC_SECRETS_DIR"


@pytest.mark.parametrize("written", ["nonsense", "sync.example.com", "ftp://sync.example.com", "https://"])
def test_an_address_no_browser_can_open_is_refused(written: str) -> None:
    """Links that clients and admins follow are made of it, so a mistyped one is found at the start."""
    with pytest.raises(ValidationError, match="no address a browser can open"):
        Configuration(public_url=written)
    assert (
        Configuration(public_url="https://sync.example.com/psa").public_url == "https://sync.example.com/psa"
    )
