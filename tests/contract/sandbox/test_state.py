"""The state file: books, tokens, replies, switches and clock survive a restart - and a SIGKILL.

Source: ours: docs/sandbox.md says what a state file keeps.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from services.sandbox.settings import App, Settings
from services.sandbox.world import World

REALM = "9341450000000001"
CLIENT = App().client_id


class Process:
    """`python -m services.sandbox` with a state file."""

    def __init__(self, state: Path, *options: str) -> None:
        command = [sys.executable, "-m", "services.sandbox", "--state", str(state), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.addresses: dict[str, str] = json.loads(self._process.stdout.readline())

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """The control port."""
        answer = requests.request(method, self.addresses["control"] + path, json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def call(self, method: str, path: str, token: str, body: Any = None) -> requests.Response:
        """The company."""
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        address = f"{self.addresses['api']}/v3/company/{REALM}{path}"
        return requests.request(method, address, json=body, headers=headers, timeout=10)

    def end(self, number: signal.Signals) -> int:
        """End the process and return its code."""
        assert self._process.stdout is not None
        self._process.send_signal(number)
        self._process.stdout.close()
        return self._process.wait(timeout=10)


@contextmanager
def started(state: Path, number: signal.Signals, *options: str) -> Iterator[Process]:
    """A sandbox that ends with the block by the given signal."""
    process = Process(state, *options)
    try:
        yield process
    finally:
        code = process.end(number)
    assert code == (0 if number is signal.SIGTERM else -number)


def invoice(number: str) -> dict[str, Any]:
    """A small invoice."""
    detail = {"ItemRef": {"value": "1"}, "TaxCodeRef": {"value": "NON"}}
    line = {"Amount": 12.34, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail}
    return {"CustomerRef": {"value": "1"}, "DocNumber": number, "Line": [line]}


def test_everything_survives_a_kill(tmp_path: Path) -> None:
    """After SIGKILL: same objects, history, tokens, replies, switches, preferences and clock; ids go on [ours]."""
    state = tmp_path / "books.jsonl"
    with started(state, signal.SIGKILL) as first:
        tokens = first.control("POST", "/tokens", {"client_id": CLIENT, "realm": REALM})
        access = tokens["access_token"]
        reply = first.call("POST", "/invoice?requestid=r1", access, invoice("K-1"))
        gone = first.call("POST", "/invoice", access, invoice("K-2")).json()["Invoice"]
        first.call("POST", "/invoice?operation=delete", access, {"Id": gone["Id"], "SyncToken": "0"})
        first.control("PATCH", f"/companies/{REALM}/switches", {"cdc_cap": 7, "ast_rate_percent": 9})
        first.control("PATCH", f"/companies/{REALM}/preferences", {"TaxPrefs": {"PartnerTaxEnabled": True}})
        first.control("POST", "/clock", {"seconds": 60})
        before = {
            path: first.control("GET", path)
            for path in (
                "/",
                "/switches",
                f"/companies/{REALM}/history",
                f"/companies/{REALM}/switches",
                f"/companies/{REALM}/objects/Invoice",
                f"/companies/{REALM}/objects/Preferences",
                f"/companies/{REALM}/receivables",
            )
        }
    with started(state, signal.SIGTERM) as second:
        assert {path: second.control("GET", path) for path in before} == before
        assert second.control("GET", "/clock")["offset"] == 60
        assert second.call("POST", "/invoice?requestid=r1", access, invoice("K-1")).text == reply.text
        since = reply.json()["Invoice"]["MetaData"]["LastUpdatedTime"]
        feed = second.call("GET", f"/cdc?entities=Invoice&changedSince={since}", access).json()
        rows = feed["CDCResponse"][0]["QueryResponse"][0]["Invoice"]
        assert {(row["Id"], row.get("status")) for row in rows} == {("1", None), (gone["Id"], "Deleted")}
        assert second.call("POST", "/invoice", access, invoice("K-3")).json()["Invoice"]["Id"] == "3"


def test_torn_last_line_is_dropped(tmp_path: Path) -> None:
    """A line without its end (power cut) is forgotten; what was written before it stays, and writing goes on [ours]."""
    state = tmp_path / "books.jsonl"
    World(Settings(state=state)).journal.close()
    whole = state.read_bytes()
    state.write_bytes(whole + b'[{"kind":"commit","realm":"9341450000000001","ro')
    World(Settings(state=state)).journal.close()
    assert state.read_bytes() == whole
    again = World(Settings(state=state))
    again.journal.close()
    assert REALM in again.companies


def test_a_commit_and_its_reply_are_one_line(tmp_path: Path) -> None:
    """What a request did and the reply for its requestid are kept together: a kill cannot separate them [ours]."""
    state = tmp_path / "books.jsonl"
    with started(state, signal.SIGTERM) as process:
        token = process.control("POST", "/tokens", {"client_id": CLIENT, "realm": REALM})["access_token"]
        process.call("POST", "/invoice?requestid=one", token, invoice("J-1"))
    lines = [json.loads(line) for line in state.read_text().splitlines()]
    kinds = [
        [entry["kind"] for entry in line] for line in lines if any(entry["kind"] == "reply" for entry in line)
    ]
    assert kinds == [["commit", "reply"]]


def test_reset_forgets(tmp_path: Path) -> None:
    """A reset brings back the first day, in the file too [ours]."""
    state = tmp_path / "books.jsonl"
    with started(state, signal.SIGTERM) as process:
        process.control("POST", "/companies", {"realm": "77"})
        process.control("POST", "/clock", {"seconds": 60})
        process.control("POST", "/reset")
    with started(state, signal.SIGTERM) as process:
        assert "77" not in {company["realm"] for company in process.control("GET", "/")["companies"]}
        assert process.control("GET", "/clock")["offset"] == 0


def test_companies_from_the_command_line(tmp_path: Path) -> None:
    """--realms opens the named companies instead of the default ones [ours]."""
    with started(tmp_path / "s", signal.SIGTERM, "--realms", "11", "12:CA", "13:AU:Down under") as process:
        companies = {
            row["realm"]: (row["country"], row["name"]) for row in process.control("GET", "/")["companies"]
        }
    assert companies == {
        "11": ("US", "Sandbox Company 11"),
        "12": ("CA", "Sandbox Company 12"),
        "13": ("AU", "Down under"),
    }
