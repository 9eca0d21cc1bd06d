"""Settings of a process, read once from the environment.

Every name has a default that works on a bare machine; `DATABASE_URL` and `BROKER_URL` replace the embedded
servers one by one.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services import refusals


class Configuration(BaseSettings):
    """All settings of the fleet; the environment variable is the field's alias or `ALGASYNC_` + its name."""

    model_config = SettingsConfigDict(env_prefix="ALGASYNC_", populate_by_name=True, extra="ignore")

    data: Path = Field(
        default=Path(".data"), description="Folder of the embedded servers, keys and sandbox books."
    )
    database_url: str = Field(
        default="", alias="DATABASE_URL", description="PostgreSQL 15-18. Empty: embedded."
    )
    broker_url: str = Field(
        default="", alias="BROKER_URL", description="amqp://... Empty: private node or in-process."
    )
    broker_management_url: str = Field(
        default="",
        alias="BROKER_MANAGEMENT_URL",
        description="HTTP management of RabbitMQ; only `doctor` reads it.",
    )
    secret_keys: Annotated[list[SecretStr], NoDecode] = Field(
        default=[], description="Comma separated Fernet keys, newest first; encrypt tokens and secrets."
    )
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8400, ge=0, le=65535)
    public_url: str = Field(
        default="", description="Where browsers reach the API; default is its own address."
    )

    health_host: str = Field(
        default="127.0.0.1",
        description="Where /healthz, /readyz and /metrics of a process listen; 0.0.0.0 in a container.",
    )
    health_port: int = Field(default=0, ge=0, le=65535, description="Their port; 0 takes a free one.")

    environment: Literal["sandbox", "production"] = Field(
        default="sandbox", description="Which QuickBooks: sandbox or production."
    )
    quickbooks_api_url: str = Field(default="", description="Replaces Intuit's API base URL.")
    quickbooks_authorize_url: str = Field(default="", description="Replaces Intuit's authorize URL.")
    quickbooks_token_url: str = Field(default="", description="Replaces Intuit's token URL.")
    quickbooks_revoke_url: str = Field(default="", description="Replaces Intuit's revoke URL.")

    connect_seconds: float = Field(default=5.0, gt=0, description="Time to open a connection to QuickBooks.")
    call_seconds: float = Field(
        default=30.0, gt=0, description="Time for QuickBooks to answer; must be below the lease."
    )
    lease_seconds: float = Field(
        default=60.0, gt=1, validate_default=True, description="How long a worker may hold an operation."
    )
    unknown_outcome_hours: float = Field(
        default=12.0,
        gt=0,
        description="Age at which a batch of unknown outcome is looked for instead of sent again.",
    )
    resend_seconds: float = Field(
        default=60.0, gt=0, description="A command that no worker took within this time is sent again."
    )
    republish_seconds: float = Field(
        default=180.0,
        gt=0,
        description="A billing event that nobody took over within this time is published again; doubles up to an hour.",
    )
    in_flight_per_company: int = Field(default=8, ge=1, le=100)
    worker_threads: int = Field(
        default=16,
        ge=1,
        le=64,
        description="Above in_flight_per_company, so that one hung company leaves room.",
    )
    drain_seconds: float = Field(
        default=45.0, gt=0, description="How long a worker may finish its work on SIGTERM."
    )
    log_format: Literal["json", "console"] = "console"
    log_level: str = "info"

    @field_validator("secret_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return [part for part in value.split(",") if part] if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _is_a_place(cls, value: str) -> str:
        found = urlsplit(value)
        if value and (found.scheme not in {"http", "https"} or not found.hostname):
            raise ValueError(
                f"{value!r} is no address a browser can open; write it as https://sync.example.com"
            )
        return value

    @field_validator("lease_seconds")
    @classmethod
    def _outlives_a_call(cls, value: float, info: ValidationInfo) -> float:
        call = info.data.get("call_seconds", 0.0)
        if value <= call:
            raise ValueError(
                f"a lease of {value:g} s must be longer than a call may take"
                f" (ALGASYNC_CALL_SECONDS, {call:g} s); raise the lease, or shorten the call"
            )
        return value

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: str) -> str:
        if value and not value.startswith(("postgresql://", "postgres://")):
            raise ValueError("DATABASE_URL must start with postgresql:// (PostgreSQL 15 to 18)")
        return value

    @field_validator("broker_url")
    @classmethod
    def _is_amqp(cls, value: str) -> str:
        if value and not value.startswith(("amqp://", "amqps://")):
            raise ValueError("BROKER_URL must start with amqp:// or amqps:// (RabbitMQ 3.10 or newer)")
        return value


@lru_cache(maxsize=1)
def configuration() -> Configuration:
    """The settings of this process, read at first use.

    With `ALGASYNC_SECRETS_DIR` set, a file of that folder named like a variable (`DATABASE_URL`,
    `ALGASYNC_SECRET_KEYS`) gives its value unless the variable itself is set: secrets then stand in no environment,
    where `docker inspect` and crash reports would show them. Raises `Refusal` when there is no such folder.
    """
    folder = os.environ.get("ALGASYNC_SECRETS_DIR")
    if folder and not Path(folder).is_dir():
        raise refusals.invalid(
            "ALGASYNC_SECRETS_DIR",
            f"there is no folder {folder}; mount the secrets there, or unset it",
            code="invalid_setting",
        )
    return Configuration(_secrets_dir=folder or None)
