"""Every endpoint under values made from its own schema: never an error of ours, always an answer as documented.

https://schemathesis.readthedocs.io
"""

from __future__ import annotations

import time
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.checks import CheckContext
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.api import create_app, keys
from services.api.keys import Scope
from tests.support.api import TENANT, Served
from tests.support.desk import World
from tests.support.ledger import company

BUDGET = 25.0  # seconds; when it is used up, endpoints that are left get one case each


def no_error_of_ours(context: CheckContext, response: Response, case: Case) -> None:
    """Only QuickBooks may have failed: this tenant's company is connected to nothing."""
    if response.status_code >= 500 and response.status_code != 502:
        raise AssertionError(f"{response.status_code}: {response.text}")


CHECKS = [
    no_error_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def secrets(served: Served) -> dict[str, str]:
    """Keys that may do everything, on a tenant that has something."""
    with served.fleet.transaction(TENANT) as connection:
        world = World(served.fleet, company(connection, tenant=TENANT), tenant=TENANT)
        made = {
            scope: keys.create(
                connection, TENANT, name="all", scopes=[scope], actor="test", per_minute=1_000_000
            ).secret
            for scope in (Scope.OPERATOR, Scope.EVENTS)
        }
    world.failed("inv-1")
    return made


@pytest.mark.timeout(180)
def test_every_endpoint_answers_as_documented(served: Served, secrets: dict[str, str]) -> None:
    """Made-up values, right and wrong ones, at every operation of the OpenAPI document, on a real database."""
    schema = schemathesis.openapi.from_dict(create_app(served.context).openapi())
    began, called, wrong = time.monotonic(), set[str](), []
    for found in schema.get_all_operations():
        operation = found.ok()
        writes_events = operation.path == "/v1/events" and operation.method.upper() == "POST"
        secret = secrets[Scope.EVENTS if writes_events else Scope.OPERATOR]
        examples = 3 if time.monotonic() - began < BUDGET else 1

        called.add(operation.label)
        try:
            check(operation, served.url, secret, examples)
        except (AssertionError, FailureGroup) as failures:
            wrong += [f"{operation.label}: {one}" for one in getattr(failures, "exceptions", [failures])]
    assert not wrong, "\n\n".join(wrong)
    assert len(called) > 100


def check(operation: APIOperation[Any, Any, Any, Any], url: str, secret: str, examples: int) -> None:
    """Call an operation with so many made-up requests."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def call(case: Case) -> None:
        headers = {"Authorization": f"Bearer {secret}"}
        case.call_and_validate(base_url=url, headers=headers, checks=CHECKS, timeout=20)

    call()
