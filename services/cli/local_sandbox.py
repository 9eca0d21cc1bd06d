"""The QuickBooks company that `algasync up` runs on this machine, and where the commands of this folder find it."""

from __future__ import annotations

import json
from pathlib import Path

from services.configuration import Configuration

PORTS = "ports.json"
"""Below the data folder: which ports `up` gave to API, sandbox and its control."""


def addresses(url: str) -> dict[str, str]:
    """Settings that make a sandbox at `url` stand in for Intuit, by field of `Configuration`."""
    return {
        "quickbooks_api_url": url,
        "quickbooks_authorize_url": f"{url}/connect/oauth2",
        "quickbooks_token_url": f"{url}/oauth2/v1/tokens/bearer",
        "quickbooks_revoke_url": f"{url}/v2/oauth2/tokens/revoke",
    }


def joined(settings: Configuration) -> Configuration:
    """The settings of a command typed beside a running `up`: its companies are the sandbox's, not Intuit's.

    Nothing changes when a database is named or any address of QuickBooks is set.
    """
    given = [settings.database_url, *(getattr(settings, name) for name in addresses(""))]
    kept = Path(settings.data) / PORTS
    if any(given) or not kept.exists():
        return settings
    return settings.model_copy(
        update=addresses(f"http://127.0.0.1:{json.loads(kept.read_text())['sandbox']}")
    )
