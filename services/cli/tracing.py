"""Optional traces: from the billing event over each operation and call to QuickBooks to the events that go back.

On when OTEL_EXPORTER_OTLP_ENDPOINT is set and the extra `telemetry` installed; the other settings are OpenTelemetry's
own. The trace context travels in the events themselves, so a trace that billing began goes on here, however long the
event lay in the outbox, and the accounting events carry it back.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from outbox.tracing import TRACEPARENT
from services.cli.console import USAGE, Told
from services.database import Database
from services.database.engine import ALL_TENANTS
from services.ledger.ports import Clients
from services.ledger.runner import Verdict
from services.quickbooks.call import Call
from services.quickbooks.reply import Reply
from workers.fleet import Fleet
from workers.headers import Headers

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanKind

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

_ABOUT = text(
    """SELECT o.kind, o.tenant_id, o.company_id::text, o.document_kind, o.document_id, e.traceparent
         FROM operation o LEFT JOIN event e USING (event_id) WHERE o.operation_id = :id"""
)


def provider(service: str) -> TracerProvider | None:
    """Where spans go, as the environment says; None when nobody asked for traces. Raises `Told`."""
    if not os.environ.get(ENDPOINT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as missing:
        raise Told(
            f"{ENDPOINT} is set, but OpenTelemetry is not installed: pip install 'algasync[telemetry]', or unset it",
            code="no_telemetry",
            field=ENDPOINT,
            exit_code=USAGE,
        ) from missing
    made = TracerProvider(resource=Resource.create({"service.name": service}))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made


class Tracing:
    """Wraps what a process does in spans of `provider`."""

    def __init__(self, provider: TracerProvider, database: Database) -> None:
        self._tracer = provider.get_tracer("algasync")
        self._database = database

    def fleet(self, fleet: Fleet) -> Fleet:
        """The same work, each message a span."""
        return replace(fleet, intake=self._intake(fleet.intake), run=self._run(fleet.run))

    def clients(self, clients: Clients) -> Clients:
        """The same clients, each call to QuickBooks a span."""
        return _TracedClients(clients, self)

    @contextmanager
    def span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, str | int], traceparent: str | None = None
    ) -> Iterator[Span]:
        """A span; a child of `traceparent` when given, else of the one at hand. Logs bear its trace id."""
        from opentelemetry import propagate, trace

        parent = propagate.extract({"traceparent": traceparent}) if traceparent else None
        with (
            self._tracer.start_as_current_span(
                name, context=parent, kind=kind, attributes=dict(attributes)
            ) as span,
            structlog.contextvars.bound_contextvars(
                trace_id=trace.format_trace_id(span.get_span_context().trace_id)
            ),
        ):
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            token = TRACEPARENT.set(carrier.get("traceparent"))
            try:
                yield span
            finally:
                TRACEPARENT.reset(token)

    def _intake(self, take_over: Callable[[bytes, Headers], object]) -> Callable[[bytes, Headers], object]:
        from opentelemetry.trace import SpanKind

        def traced(body: bytes, headers: Headers) -> object:
            traceparent = headers.get("traceparent")
            with self.span(
                "take over",
                SpanKind.CONSUMER,
                {"algasync.tenant": str(headers.get("tenant", ""))},
                traceparent if isinstance(traceparent, str) else None,
            ):
                return take_over(body, headers)

        return traced

    def _run(self, run: Callable[[UUID, int], Verdict]) -> Callable[[UUID, int], Verdict]:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        def traced(operation_id: UUID, attempt: int) -> Verdict:
            with self._database.transaction(ALL_TENANTS) as connection:
                name, attributes, traceparent = _about(connection, operation_id)
            attributes |= {"algasync.operation": str(operation_id), "algasync.attempt": attempt}
            with self.span(name, SpanKind.CONSUMER, attributes, traceparent) as span:
                verdict = run(operation_id, attempt)
                span.set_attribute("algasync.outcome", verdict.code)
                if verdict.reject:
                    span.set_status(Status(StatusCode.ERROR, verdict.reason))
                return verdict

        return traced


class _TracedClients:
    """`services.ledger.ports.Clients` with a span for each call."""

    def __init__(self, inner: Clients, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing
        self.reserve = inner.reserve
        self.pause = inner.pause
        self.expired = inner.expired

    def execute(self, company_id: UUID, call: Call) -> Reply:
        """Make a call whose slot is reserved already."""
        return self._called(self._inner.execute, company_id, call)

    def look(self, company_id: UUID, call: Call) -> Reply:
        """Make a metered read that waits for its own slot."""
        return self._called(self._inner.look, company_id, call)

    def _called(self, make: Callable[[UUID, Call], Reply], company_id: UUID, call: Call) -> Reply:
        from opentelemetry.trace import SpanKind

        attributes = {"algasync.company": str(company_id), "quickbooks.entity": call.entity}
        if call.requestid:
            attributes["quickbooks.requestid"] = call.requestid
        with self._tracing.span(f"quickbooks {call.operation}", SpanKind.CLIENT, attributes) as span:
            reply = make(company_id, call)
            span.set_attribute("http.response.status_code", reply.status)
            if reply.intuit_tid:
                span.set_attribute("quickbooks.intuit_tid", reply.intuit_tid)
            return reply


def _about(connection: Connection, operation_id: UUID) -> tuple[str, dict[str, str | int], str | None]:
    row = connection.execute(_ABOUT, {"id": operation_id}).one_or_none()
    if row is None:
        return "unknown operation", {}, None
    kind, tenant, company, document_kind, document_id, traceparent = row
    attributes: dict[str, str | int] = {
        "algasync.tenant": tenant,
        "algasync.company": company or "",
        "algasync.document": f"{document_kind}/{document_id}",
    }
    return kind, attributes, traceparent
