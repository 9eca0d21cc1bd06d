"""An arena for benches, chaos runs and tests: tenants whose sandbox companies are connected, mapped and switched on.

It takes the short way round the browser (tokens are minted by the sandbox's control port); the demonstration and
the acceptance tests take the long one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import requests
from sqlalchemy import Connection

from services.connections import companies, credentials, token_store
from services.connections.vault import Vault
from services.database import Database
from services.exceptions import causes
from services.exceptions.attention import ConnectionAttention
from services.mapping import mappings, settings
from services.mapping.settings import TENANT
from services.quickbooks.oauth import TokenSet

CLIENT_ID = "arena-client-id"
CLIENT_SECRET = "arena-client-secret"  # noqa: S105 - of a sandbox app that exists on this machine only
ACTOR = "arena"
CUSTOMERS = {"cl-1": "2"}  # ids in the books of a fresh sandbox company
ITEMS = {"svc": "3"}


@dataclass(frozen=True, slots=True)
class Arena:
    """A sandbox (its control address) and the fleet's database."""

    control: str
    database: Database
    vault: Vault

    def prepare(self, *, limits: bool) -> None:
        """Register the app; `limits` says whether the sandbox enforces Intuit's call limits."""
        self._send("POST", "/apps", {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET})
        self._send("PATCH", "/switches", {"limits": limits})

    def callback(self, address: str) -> None:
        """Let Intuit send browsers back to this address, so that companies can be connected in one."""
        app = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": [address]}
        self._send("POST", "/apps", app)

    def join(
        self,
        tenant: str,
        realm: str,
        *,
        default: bool = True,
        customers: Mapping[str, str] = CUSTOMERS,
        items: Mapping[str, str] = ITEMS,
    ) -> UUID:
        """Open and connect a company for the tenant, map its clients and services, switch sync on."""
        self.open(realm, f"Company of {tenant}")
        minted = self.mint(realm)
        now = datetime.now(UTC)
        tokens = TokenSet(
            minted["access_token"],
            minted["refresh_token"],
            now + timedelta(seconds=minted["expires_in"]),
            now + timedelta(seconds=minted["x_refresh_token_expires_in"]),
        )
        with self.database.transaction(tenant) as connection:
            credentials.save(
                connection,
                self.vault,
                tenant,
                client_id=CLIENT_ID,
                client_secret=CLIENT_SECRET,
                actor=ACTOR,
            )
            company = companies.activate(
                connection,
                tenant,
                environment="sandbox",
                realm_id=realm,
                actor=ACTOR,
                attention=ConnectionAttention(),
            )
            token_store.put(connection, self.vault, tenant, company.company_id, tokens)
            if default and not company.is_default:
                companies.make_default(connection, company.company_id, ACTOR)
            for kind, ids in (("customer", customers), ("item", items)):
                for key, external_id in ids.items():
                    _map(connection, tenant, company.company_id, kind, key, external_id)
            settings.put(connection, tenant, TENANT, "auto_sync", True, actor=ACTOR)
        return company.company_id

    def open(self, realm: str, name: str) -> None:
        """A company of the sandbox that is connected to nobody yet."""
        self._send("POST", "/companies", {"realm": realm, "name": name})

    def mint(self, realm: str) -> dict[str, Any]:
        """Tokens for a company, as Intuit's token endpoint answers."""
        return cast(dict[str, Any], self._send("POST", "/tokens", {"client_id": CLIENT_ID, "realm": realm}))

    def map(self, tenant: str, company_id: UUID, kind: str, key: str, external_id: str) -> None:
        """Map one more client or service; what failed for want of it goes on."""
        with self.database.transaction(tenant) as connection:
            _map(connection, tenant, company_id, kind, key, external_id)

    def objects(self, realm: str, entity: str = "Invoice") -> list[dict[str, Any]]:
        """Everything of an entity in a company's books, raw."""
        found = self._send("GET", f"/companies/{realm}/objects/{entity}")
        return cast(list[dict[str, Any]], found if isinstance(found, list) else found["objects"])

    def counters(self, realm: str) -> dict[str, Any]:
        """What the sandbox counted for a company."""
        return self.all_counters().get(realm, {})

    def all_counters(self) -> dict[str, dict[str, Any]]:
        """What the sandbox counted, by company."""
        return cast(dict[str, dict[str, Any]], self._send("GET", "/counters")["companies"])

    def history(self, realm: str, entity: str) -> list[dict[str, Any]]:
        """Every version of every object of an entity that the books have had, oldest first; `body` None: deleted."""
        found = self._send("GET", f"/companies/{realm}/history?entity={entity}")
        return cast(list[dict[str, Any]], found)

    def trouble(self, kind: str, **conditions: Any) -> str:
        """Switch a fault of the sandbox on; returns its id."""
        return cast(str, self._send("POST", "/troubles", {"kind": kind, **conditions})["id"])

    def hits(self, trouble: str) -> int:
        """How many requests a fault has met; 0 also when it is switched off."""
        rules = self._send("GET", "/troubles")
        return next((cast(int, rule["hits"]) for rule in rules if rule["id"] == trouble), 0)

    def no_more_trouble(self, trouble: str) -> None:
        """Switch one fault off; nothing happens when it is off."""
        requests.delete(f"{self.control}/troubles/{trouble}", timeout=30)

    def no_more_troubles(self) -> None:
        """Switch all faults off."""
        self._send("DELETE", "/troubles")

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = requests.request(method, self.control + path, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None


def _map(
    connection: Connection, tenant: str, company_id: UUID, kind: str, key: str, external_id: str
) -> None:
    mappings.put(
        connection,
        tenant,
        company_id,
        (kind, key, ""),
        external_id=external_id,
        external_name=key,
        actor=ACTOR,
        on_mapping_set=_release,
    )


def _release(connection: Connection, tenant: str, cause: str) -> None:
    causes.release(connection, tenant, cause, ACTOR)
