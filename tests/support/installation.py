"""An installation as an operator has it: settings in the environment, `algasync api` in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
import requests

from deploy.local.process import end, last_lines, process, spawn
from services.connections.vault import new_key
from tests.support.command import RunCli
from tests.support.deadline import eventually
from tests.support.intuit import APP, register
from tests.support.sandbox import Sandbox

VERIFIER = "fake-verifier-token-of-the-tests"


@dataclass
class Installation:
    """The API is not running until `start`; commands run at any time."""

    url: str
    settings: dict[str, str]
    folder: Path
    run_cli: RunCli
    pid: int = field(default=0)

    def start(self) -> None:
        """Serve the API; returns when it answers."""
        log = self.folder / "api.log"
        program = Path(sys.executable).parent / "algasync"
        self.pid = spawn(
            [program, "api"], log=log, environment=os.environ | self.settings, dies_with_parent=SIGTERM
        )

        def answers() -> bool:
            if process(self.pid) is None:
                pytest.fail(f"The API did not start:\n{last_lines(log)}", pytrace=False)
            try:
                return requests.get(f"{self.url}/healthz", timeout=1).ok
            except requests.RequestException:
                return False

        eventually(answers, 60, what=f"the API answers at {self.url}")

    def stop(self) -> None:
        """End the API, as SIGTERM does; nothing when it does not run."""
        if self.pid:
            end(self.pid, SIGTERM, 20)
            self.pid = 0

    def __call__(self, *words: str, exit_code: int = 0, stdin: str | None = None) -> str:
        """Run a command, expect its exit code; returns all that it printed."""
        done = self.run_cli(*words, env=self.settings, stdin=stdin)
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def json(self, *words: str, exit_code: int = 0, stdin: str | None = None) -> Any:
        """Run with --json; standard output is one object, whatever the end."""
        done = self.run_cli(*words, "--json", env=self.settings, stdin=stdin)
        assert done.returncode == exit_code, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def installation(
    database_url: str, sandbox: Sandbox, free_port: Callable[[], int], tmp_path: Path, run_cli: RunCli
) -> Iterator[Installation]:
    """An installation over a fresh database, in front of a fresh sandbox that knows the app of `APP`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "DATABASE_URL": database_url,
        "BROKER_URL": "",
        "ALGASYNC_DATA": str(tmp_path),
        "ALGASYNC_SECRET_KEYS": new_key(),
        "ALGASYNC_API_PORT": str(port),
        "ALGASYNC_ACTOR": "dana",
        "ALGASYNC_RETURN_TO": "https://psa.example/settings",
        "ALGASYNC_QUICKBOOKS_API_URL": sandbox.api,
        "ALGASYNC_QUICKBOOKS_AUTHORIZE_URL": f"{sandbox.api}/connect/oauth2",
        "ALGASYNC_QUICKBOOKS_TOKEN_URL": f"{sandbox.api}/oauth2/v1/tokens/bearer",
        "ALGASYNC_QUICKBOOKS_REVOKE_URL": f"{sandbox.api}/v2/oauth2/tokens/revoke",
        "QBO_WEBHOOK_VERIFIER_TOKEN": VERIFIER,
    }
    register(sandbox, f"{url}/v1/quickbooks/callback")
    made = Installation(url, settings, tmp_path, run_cli)
    yield made
    made.stop()


def hears(installation: Installation, sandbox: Sandbox, form: str) -> None:
    """The app on Intuit's developer page gets our webhook endpoint; `form` is legacy or cloudevents."""
    app = {
        "client_id": APP[0],
        "client_secret": APP[1],
        "redirect_uris": [f"{installation.url}/v1/quickbooks/callback"],
        "webhook_url": f"{installation.url}/v1/quickbooks/webhooks",
        "webhook_format": form,
        "verifier_token": VERIFIER,
    }
    requests.post(f"{sandbox.control}/apps", json=app, timeout=10).raise_for_status()
