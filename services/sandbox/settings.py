"""What a sandbox is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class App:
    """An app registered with Intuit: credentials, where browsers may be sent back, where webhooks go."""

    client_id: str = "sandbox-client-id"
    client_secret: str = field(default="sandbox-client-secret", repr=False)
    redirect_uris: tuple[str, ...] = ()
    webhook_url: str = ""
    webhook_format: str = "cloudevents"  # or "legacy"
    verifier_token: str = field(default="sandbox-verifier-token", repr=False)


@dataclass(frozen=True, slots=True)
class CompanySpec:
    """A company to open at the start: `realm[:country[:name]]` on the command line."""

    realm: str
    country: str = "US"
    name: str = ""
    multicurrency: bool = False

    @classmethod
    def parse(cls, text: str) -> CompanySpec:
        """Read the command line's form; raises `ValueError`."""
        realm, _, rest = text.partition(":")
        country, _, name = rest.partition(":")
        if not realm.isdigit():
            raise ValueError(f"a realm is a number, not {realm!r}; write realm[:country[:name]]")
        return cls(realm, country or "US", name)


DEFAULT_COMPANIES = (
    CompanySpec("9341450000000001", "US", "Sandbox Company_US_1"),
    CompanySpec("9341450000000002", "GB", "Sandbox Company_GB_1"),
    CompanySpec("9341450000000003", "US", "Sandbox Company_US_Multicurrency", multicurrency=True),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Apps and companies that exist at the start; `state` is the file that survives a restart, if any."""

    apps: tuple[App, ...] = (App(),)
    companies: tuple[CompanySpec, ...] = DEFAULT_COMPANIES
    state: Path | None = None
    seed: int = 1
