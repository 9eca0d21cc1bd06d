"""Bodies that come in and go out, common to the routers: strict inwards, documented outwards."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.connections.companies import Company


class Given(BaseModel):
    """A body from a caller: unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Told(BaseModel):
    """A body to a caller, read from what a service returned."""

    model_config = ConfigDict(from_attributes=True)


class Csv(Response):
    """A sheet to be saved as a file."""

    media_type = "text/csv"


class CompanyTold(Told):
    """A QuickBooks company of the tenant."""

    company_id: UUID = Field(description="Our id of it.")
    realm_id: str = Field(description="Intuit's id of it.")
    environment: str = Field(description="sandbox or production; the two never mix.")
    name: str
    country: str
    home_currency: str
    state: str = Field(description="active, expired (reconnect it) or disconnected.")
    is_default: bool = Field(description="Documents that name no company go here.")
    attention_reason: str | None = Field(description="Why it is expired.")
    attention_since: datetime | None
    connected_at: datetime
    connected_by: str
    disconnected_at: datetime | None
    facts_read_at: datetime | None = Field(description="When its name and preferences were last read.")

    @classmethod
    def of(cls, company: Company) -> CompanyTold:
        """The company as it may be shown."""
        return cls.model_validate(company)


class EntryTold(Told):
    """One entry of a timeline; `intact` says that its hash and its place in the chain are as written."""

    position: int
    at: datetime
    actor: str
    action: str
    details: dict[str, Any]
    hash: str
    intact: bool
