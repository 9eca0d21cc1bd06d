"""Commands typed beside a running `up` talk to its QuickBooks company, and never to it when something else is set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli import local_sandbox
from services.configuration import Configuration


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that `up` has used."""
    (tmp_path / local_sandbox.PORTS).write_text(json.dumps({"api": 8400, "sandbox": 8599, "control": 8501}))
    return tmp_path


def test_the_sandbox_beside_it_is_meant(data: Path) -> None:
    """All four addresses are the sandbox's."""
    joined = local_sandbox.joined(Configuration(data=data, database_url=""))
    assert joined.quickbooks_api_url == "http://127.0.0.1:8599"
    assert joined.quickbooks_token_url.startswith("http://127.0.0.1:8599/")
    assert joined.quickbooks_authorize_url.startswith("http://127.0.0.1:8599/")
    assert joined.quickbooks_revoke_url.startswith("http://127.0.0.1:8599/")


@pytest.mark.parametrize(
    "given", [{"database_url": "postgresql://db/x"}, {"quickbooks_api_url": "https://api.example"}]
)
def test_what_is_set_is_kept(data: Path, given: dict[str, str]) -> None:
    """A named database or address belongs to another installation: its QuickBooks is not the local one."""
    settings = Configuration(data=data, **given)
    assert local_sandbox.joined(settings) == settings


def test_without_up_nothing_changes(tmp_path: Path) -> None:
    """A folder where nothing ran."""
    settings = Configuration(data=tmp_path, database_url="")
    assert local_sandbox.joined(settings) == settings
