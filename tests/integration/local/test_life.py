"""Servers end with the run that started them, and serve an account without rights as well as root."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.local.process import process
from tests.support import brokers, eventually

_STARTER = """
import json, signal, sys
from pathlib import Path
from deploy.local import PostgresqlServer, RabbitmqNode

folder = Path(sys.argv[1])
node = RabbitmqNode(folder / "rabbitmq").launch(dies_with_parent=True)
server = PostgresqlServer(folder / "postgresql")
server.start(dies_with_parent=True)
epmd = json.loads((folder / "rabbitmq/pids.json").read_text())["epmd"]
print(json.dumps([node, epmd, server.pid]), flush=True)
signal.pause()
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_their_starter(workspace: Path, sign: signal.Signals) -> None:
    """However a test run is interrupted, even by SIGKILL, the servers it started go with it."""
    folder = workspace / f"starter-{sign.name}"
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER, folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as starter:
        assert starter.stdout is not None
        pids = json.loads(starter.stdout.readline())
        assert all(process(pid) for pid in pids)
        starter.send_signal(sign)
    eventually(lambda: not any(process(pid) for pid in pids), 20, what="the servers end with their starter")


def _as_ordinary_account() -> list[str]:
    """Words that run a command without root's rights; none when the tests do not run as root."""
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam("nobody")
    ways = {*Path(sys.prefix).parents, *Path(sys.base_prefix).resolve().parents, Path(__file__).parent}
    # A checkout in root's own folder cannot be read by anyone else: the account may then read, and still is not root.
    rights = "-all" if all(way.stat().st_mode & 1 for way in ways) else "-all,+dac_override"
    return [
        "setpriv",
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        f"--inh-caps={rights}",
        f"--ambient-caps={rights}",
    ]


def test_an_ordinary_account_starts_both_by_command(
    tmp_path_factory: pytest.TempPathFactory, workspace: Path
) -> None:
    """`python -m deploy.local` starts, shows, names and stops both servers for an account that is not root."""
    data = workspace / "ordinary"
    data.mkdir()
    if os.geteuid() == 0:
        account = pwd.getpwnam("nobody")
        os.chown(data, account.pw_uid, account.pw_gid)

    def command(*arguments: str) -> str:
        done = subprocess.run(
            [*_as_ordinary_account(), sys.executable, "-m", "deploy.local", *arguments, f"--data={data}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def running(answer: str) -> dict[str, Any]:
        servers = json.loads(answer)
        return {name: server["pid"] for name, server in servers.items() if server["running"]}

    started = running(command("start"))
    try:
        assert set(started) == {"postgresql", "rabbitmq"}
        assert running(command("start")) == started
        assert running(command("status")) == started
        urls = dict(line.removeprefix("export ").split("=", 1) for line in command("env").splitlines())
        with psycopg.connect(urls["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert brokers.amqp_refusal(urls["BROKER_URL"]) is None
    finally:
        assert running(command("stop")) == {}
    assert not any(process(pid) for pid in started.values())
