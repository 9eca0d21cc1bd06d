"""The company endpoints under /v3: authentication, limits, troubles, execution, answer - in this order."""

from __future__ import annotations

import asyncio
import secrets
from itertools import count

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.sandbox import faults, gateway
from services.sandbox.answers import SILENT
from services.sandbox.counters import Request
from services.sandbox.execution import execute
from services.sandbox.requests import ApiRequest, check, classify
from services.sandbox.store import Company
from services.sandbox.troubles import Occasion
from services.sandbox.world import World


class CompanyApi:
    """An ASGI application for `/v3/company/{realm}/...`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._boot = secrets.token_hex(8)
        self._count = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        raw = await _body(receive)
        headers = dict(scope["headers"])
        request = classify(scope["method"], scope["path"], scope["query_string"], headers, raw)
        tid = f"1-{self._boot}-{next(self._count):012x}"
        answer = await self._answer(request, tid)
        await answer(scope, receive, send)

    async def _answer(self, request: ApiRequest, tid: str) -> Response:
        world = self._world
        occasion = Occasion(request.realm, request.method, request.label, request.operation, request.path)
        fired = world.troubles.firing(occasion) if world.troubles.rules else []
        for trouble in fired:
            if trouble.kind == "latency":
                await asyncio.sleep(world.troubles.pause(trouble))
        app, replayed = "", False
        switches = world.switches_of(request.realm)
        try:
            company, app = self._admit(request)
            answer = gateway.beforehand(fired, switches, world.clock.now())
            if answer is None:
                check(request)
                outcome = execute(world, company, request, app)
                replayed = outcome.replayed
                world.counters.of(request.realm).creates.update(outcome.created)
                answer = gateway.afterwards(
                    fired, Response(outcome.body, outcome.status, media_type=outcome.media_type)
                )
        except faults.GatewayRefusal as refusal:
            answer = gateway.refusal(switches, refusal, world.clock.now())
        except faults.Refusal as refusal:
            if isinstance(refusal, faults.NotModelled):
                world.counters.of(request.realm).unmodelled[refusal.what] += 1
            answer = Response(refusal.body(world.clock.now()), refusal.status, media_type=gateway.JSON)
        world.journal.flush()
        status = 0 if isinstance(answer, SILENT) else answer.status_code
        line = Request(
            world.clock.now(),
            request.realm,
            app,
            request.method,
            request.label,
            request.operation,
            request.path,
            request.requestid,
            status,
            tid,
            replayed,
        )
        world.counters.note(line, metered=request.reads)
        answer.headers["intuit_tid"] = tid
        answer.headers["qbo-version"] = "1970.225"
        return answer

    def _admit(self, request: ApiRequest) -> tuple[Company, str]:
        """The company and the app, once token, realm, limits and subscription allow the request."""
        world = self._world
        header = request.headers.get(b"authorization", b"").decode("latin-1")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise faults.unauthenticated("Token missing")
        grant = world.authority.bearer(token)
        if grant is None:
            raise faults.unauthenticated("Token expired, revoked or unknown")
        company = world.companies.get(request.realm)
        if company is None or grant.realm != request.realm:
            raise faults.unauthorized_application()
        if "com.intuit.quickbooks.accounting" not in grant.scopes:
            raise faults.unauthorized_application()
        if company.switches.limits:
            now, batch = world.clock.now(), request.resource == "batch"
            if not world.limits.admits(company.switches, company.realm, grant.client_id, now, batch=batch):
                raise faults.throttled()
        if not company.active:
            raise faults.company_status()
        return company, grant.client_id


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    return b"".join(chunks)
