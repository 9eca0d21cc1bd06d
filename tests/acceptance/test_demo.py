"""The main job as a newcomer meets it: one command, and every document is in QuickBooks once and to the cent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import requests

from deploy.local import PostgresqlServer
from deploy.local.process import process, take
from services.cli.demo.audit import audit
from tests.support.command import RunCli
from tests.support.deadline import eventually
from tests.support.exporting import REALM, Workbench, invoice

KEYS = {
    "documents_expected",
    "documents_arrived",
    "doubled",
    "missing",
    "cents_off",
    "exceptions_open",
    "dead_letters_replayed",
    "broker",
}


def test_demo_once_on_given_servers(
    run_cli: RunCli, database_url: str, broker_url: str, tmp_path: Path
) -> None:
    """`demo --once --json`: connect through OAuth, bill, fail, map, replay, receive money, and the books agree."""
    env = {"DATABASE_URL": database_url, "BROKER_URL": broker_url, "ALGASYNC_DATA": str(tmp_path)}
    done = run_cli("demo", "--once", "--json", "--count", "12", env=env, timeout=150)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.keys() >= KEYS
    assert (told["documents_expected"], told["documents_arrived"]) == (12, 12)
    assert (told["doubled"], told["missing"], told["cents_off"], told["exceptions_open"]) == (0, 0, 0, 0)
    assert told["dead_letters_replayed"] == 1
    assert told["payments_received"] == 1


def test_the_audit_sees_what_is_planted(workbench: Workbench) -> None:
    """A check that cannot fail proves nothing: a wrong cent, a missing and a doubled document are each found."""
    for number in ("inv-1", "inv-2", "inv-3"):
        workbench.bill(number)
    workbench.settle()
    billed = [invoice(number) for number in ("inv-1", "inv-2", "inv-3")]
    token = workbench.clients.token
    assert audit(workbench.sandbox.api, REALM, token, billed).clean
    billed[0]["total"] += 1
    billed.append(invoice("inv-4"))
    twin = workbench.objects()[1]
    kept = ("DocNumber", "CustomerRef", "Line", "TxnDate")
    answer = requests.post(
        f"{workbench.sandbox.api}/v3/company/{REALM}/invoice",
        params={"minorversion": "75", "include": "allowduplicatedocnum"},
        json={name: twin[name] for name in kept} | {"Line": twin["Line"][:1]},
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        timeout=10,
    )
    assert answer.ok, answer.text
    found = audit(workbench.sandbox.api, REALM, token, billed)
    assert (found.off, found.missing, found.doubled) == ({"INV-1": -1}, ["INV-4"], [twin["DocNumber"]])


def test_up_stops_cleanly(database_url: str, tmp_path: Path) -> None:
    """`up` prints where everything listens; SIGTERM ends every process of it, exit code 0."""
    program = Path(sys.executable).parent / "algasync"
    env = {
        **os.environ,
        "DATABASE_URL": database_url,
        "ALGASYNC_DATA": str(tmp_path),
    }
    env.pop("BROKER_URL", None)
    with subprocess.Popen([program, "up"], env=env, stdout=subprocess.PIPE, text=True) as fleet:
        assert fleet.stdout is not None
        said: list[str] = []
        for line in fleet.stdout:
            said.append(line)
            if "Ctrl-C stops everything" in line:
                break
        assert "broker:" in said[0]
        children = [child.pid for child in _children(fleet.pid)]
        assert children
        fleet.send_signal(signal.SIGTERM)
        assert fleet.wait(60) == 0, "".join(said)
    eventually(lambda: not any(process(pid) for pid in children), 10)


def test_a_server_that_dies_is_started_again(broker_url: str, tmp_path: Path) -> None:
    """`up` brings a killed PostgreSQL of its own back at the same address, says so, and the fleet goes on."""
    program = Path(sys.executable).parent / "algasync"
    env = {**os.environ, "BROKER_URL": broker_url, "ALGASYNC_DATA": str(tmp_path)}
    env.pop("DATABASE_URL", None)
    server = PostgresqlServer(tmp_path / "postgresql")
    with subprocess.Popen([program, "up"], env=env, stdout=subprocess.PIPE, text=True) as fleet:
        assert fleet.stdout is not None
        api = next(line.split()[1] for line in fleet.stdout if line.strip().startswith("API "))
        before = server.url
        server.kill()
        assert any("PostgreSQL ended unexpectedly" in line for line in fleet.stdout)
        eventually(lambda: server.pid is not None and requests.get(f"{api}/readyz", timeout=10).ok, 40)
        assert server.url == before
        fleet.send_signal(signal.SIGTERM)
        assert fleet.wait(60) == 0
    assert server.pid is None


def test_a_second_fleet_in_the_same_folder_is_refused(
    run_cli: RunCli, database_url: str, tmp_path: Path
) -> None:
    """A second `up` or `demo` beside a running fleet is refused: it would end the servers of the first."""
    (tmp_path / "ports.json").write_text('{"api": 8400}')
    env = {"DATABASE_URL": database_url, "ALGASYNC_DATA": str(tmp_path)}
    running = take(tmp_path / "fleet.lock")
    assert running is not None
    before = sorted(tmp_path.iterdir())
    with running:
        for command in (("up",), ("demo", "--once")):
            done = run_cli(*command, env=env, timeout=60)
            assert done.returncode == 1
            assert f"A fleet runs already in {tmp_path}" in done.stderr
            assert "ALGASYNC_DATA" in done.stderr
            assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} - {path.name for path in before} == {"logs"}
    assert (tmp_path / "ports.json").read_text() == '{"api": 8400}'


def test_a_data_folder_that_cannot_be_made_is_named(run_cli: RunCli, tmp_path: Path) -> None:
    """`up` where no folder can be made is a sentence with the folder, not a traceback."""
    (tmp_path / "file").touch()
    done = run_cli("up", env={"ALGASYNC_DATA": str(tmp_path / "file")}, timeout=60)
    assert done.returncode == 1
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)
