"""The HTTP side of OAuth 2.0: authorize page, token, revoke and user endpoints, discovery."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from collections.abc import Callable, Coroutine
from html import escape
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.datastructures import FormData, QueryParams
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from services.sandbox import gateway
from services.sandbox.answers import SILENT
from services.sandbox.counters import Request as Line
from services.sandbox.identity import ALGORITHM, SUBJECT, Identity
from services.sandbox.oauth import SCOPES, Grant, TokenRefusal
from services.sandbox.settings import App
from services.sandbox.troubles import Occasion
from services.sandbox.world import World

OAUTH = "oauth"  # the name of these endpoints in troubles and counters
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Intuit sandbox</title></head><body>
<h1>{title}</h1>{content}</body></html>"""


class Pages:
    """The routes; `router` goes into the API application."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._in_flight: dict[str, int] = {}  # realm -> refreshes being answered
        self._identity = Identity()
        self.router = APIRouter(route_class=_Traced)
        self.router.add_api_route("/connect/oauth2", self.authorize, methods=["GET"])
        self.router.add_api_route("/connect/oauth2", self.decide, methods=["POST"])
        self.router.add_api_route("/oauth2/v1/tokens/bearer", self.token, methods=["POST"])
        self.router.add_api_route("/v2/oauth2/tokens/revoke", self.revoke, methods=["POST"])
        self.router.add_api_route("/v1/openid_connect/userinfo", self.user, methods=["GET"])
        self.router.add_api_route("/op/v1/jwks", self.keys, methods=["GET"])
        for name in ("openid_configuration", "openid_sandbox_configuration"):
            self.router.add_api_route(f"/.well-known/{name}", self.discovery, methods=["GET"])
            self.router.add_api_route(f"/.well-known/{name}/", self.discovery, methods=["GET"])

    async def authorize(self, request: Request) -> Response:
        """The page on which a person picks a company and approves. Errors in the request stay on this page."""
        query = request.query_params
        problem = self._problem(query.get("client_id", ""), query.get("redirect_uri", ""))
        if problem:
            return _error_page(problem)
        redirect_uri, state = query["redirect_uri"], query.get("state", "")
        if not state:
            return _error_page("The state query parameter is missing.")
        if query.get("response_type") != "code":
            return _back(redirect_uri, {"error": "unsupported_response_type", "state": state})
        scopes = query.get("scope", "").split()
        if not scopes or not SCOPES.issuperset(scopes):
            return _back(redirect_uri, {"error": "invalid_scope", "state": state})
        return HTMLResponse(self._form(query))

    async def decide(self, request: Request) -> Response:
        """The form's answer: `realm`, `decision` (approve or deny) and the request's own parameters."""
        form = await request.form()
        client_id, redirect_uri = _text(form, "client_id"), _text(form, "redirect_uri")
        problem = self._problem(client_id, redirect_uri)
        if problem:
            return _error_page(problem)
        state, realm = _text(form, "state"), _text(form, "realm")
        if _text(form, "decision") != "approve":
            return _back(redirect_uri, {"error": "access_denied", "state": state})
        if realm not in self._world.companies:
            return _error_page(f"There is no company {realm}.")
        code = self._world.authority.authorize(client_id, realm, redirect_uri, _text(form, "scope"))
        return _back(redirect_uri, {"code": code, "state": state, "realmId": realm})

    async def token(self, request: Request) -> Response:
        """Codes and refresh tokens for access tokens; form-encoded, HTTP Basic (or credentials in the form)."""
        form = await request.form()
        key = self._realm(form) if _text(form, "refresh_token") else ""
        self._in_flight[key] = self._in_flight.get(key, 0) + 1
        if key and self._in_flight[key] > 1:
            self._world.authority.stats["overlapping_refreshes"] += 1
        try:
            return await self._token(request, form)
        finally:
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]

    async def _token(self, request: Request, form: FormData) -> Response:
        world = self._world
        kind = _text(form, "grant_type")
        realm = self._realm(form)
        fired = world.troubles.firing(Occasion(realm, "POST", OAUTH, kind, request.url.path))
        for trouble in fired:
            if trouble.kind == "latency":
                await asyncio.sleep(world.troubles.pause(trouble))
        answer = gateway.beforehand(fired, world.switches_of(realm), world.clock.now())
        if answer is None:
            try:
                grant = self._redeem(request, form, kind)
                hard = request.headers.get("x-include-refresh-token-hard-expires-in") == "true"
                tokens = world.authority.reply(grant, hard=hard)
                if kind == "authorization_code" and "openid" in grant.scopes.split():
                    now = world.clock.now()
                    tokens["id_token"] = self._identity.token(_issuer(request), grant.client_id, realm, now)
                answer = JSONResponse(tokens, headers={"cache-control": "no-store"})
            except TokenRefusal as refusal:
                answer = _refused(refusal)
            answer = gateway.afterwards(fired, answer)
        world.journal.flush()
        status = 0 if isinstance(answer, SILENT) else answer.status_code
        now = world.clock.now()
        world.counters.note(
            Line(now, realm, "", "POST", OAUTH, kind, request.url.path, "", status, "", False), metered=False
        )
        return answer

    def _redeem(self, request: Request, form: FormData, kind: str) -> Grant:
        app = self._client(request, form)
        needed = {"authorization_code": "code", "refresh_token": "refresh_token"}.get(kind, "grant_type")
        if not _text(form, needed):
            raise TokenRefusal("invalid_request", f"The parameter {needed} is missing")
        if kind == "authorization_code":
            return self._world.authority.redeem(app, _text(form, "code"), _text(form, "redirect_uri"))
        if kind == "refresh_token":
            return self._world.authority.refresh(app, _text(form, "refresh_token"))
        raise TokenRefusal("unsupported_grant_type", f"grant_type {kind!r} is not supported")

    async def revoke(self, request: Request) -> Response:
        """Disconnect: `{"token": ...}` (access or refresh) with HTTP Basic; everything of the grant ends."""
        try:
            form = FormData()
            if request.headers.get("content-type", "").startswith("application/json"):
                values = await request.json()
                form = FormData(values if isinstance(values, dict) else {})
            else:
                form = await request.form()
            app = self._client(request, form)
            grant = self._world.authority.find(_text(form, "token"))
            if grant is None or grant.client_id != app.client_id or grant.revoked:
                raise TokenRefusal("invalid_grant", "Token is unknown or already revoked")
        except TokenRefusal as refusal:
            return _refused(refusal)
        except ValueError:
            return _refused(TokenRefusal("invalid_request", "The body is not JSON"))
        self._world.authority.revoke(grant)
        self._world.journal.flush()
        return Response(status_code=200)

    async def user(self, request: Request) -> Response:
        """Who signed in; needs the `openid` scope."""
        token = request.headers.get("authorization", "").partition(" ")[2]
        grant = self._world.authority.bearer(token)
        if grant is None or "openid" not in grant.scopes.split():
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse(
            {
                "sub": SUBJECT,
                "email": "bookkeeper@example.com",
                "emailVerified": True,
                "givenName": "Sandy",
                "familyName": "Box",
            }
        )

    async def keys(self) -> Response:
        """The public keys that ID tokens are signed with."""
        return JSONResponse(self._identity.keys())

    async def discovery(self, request: Request) -> Response:
        """The OpenID configuration, with this server's addresses."""
        base = str(request.base_url).rstrip("/")
        return JSONResponse(
            {
                "issuer": _issuer(request),
                "authorization_endpoint": f"{base}/connect/oauth2",
                "token_endpoint": f"{base}/oauth2/v1/tokens/bearer",
                "userinfo_endpoint": f"{base}/v1/openid_connect/userinfo",
                "revocation_endpoint": f"{base}/v2/oauth2/tokens/revoke",
                "jwks_uri": f"{base}/op/v1/jwks",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "scopes_supported": ["openid", "email", "profile", "address", "phone"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
                "claims_supported": ["aud", "exp", "iat", "iss", "realmid", "sub"],
            }
        )

    def _problem(self, client_id: str, redirect_uri: str) -> str:
        app = self._world.authority.apps.get(client_id)
        if app is None:
            return "The client_id is not that of a registered app."
        if redirect_uri not in app.redirect_uris:
            return "The redirect_uri query parameter value is invalid: it is not registered with the app."
        return ""

    def _client(self, request: Request, form: FormData) -> App:
        client_id, client_secret = _text(form, "client_id"), _text(form, "client_secret")
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                client_id, _, client_secret = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                client_id = ""
        return self._world.authority.authenticate(client_id, client_secret)

    def _realm(self, form: FormData) -> str:
        grant = self._world.authority.find(_text(form, "refresh_token"))
        if grant is not None:
            return grant.realm
        code = self._world.authority.codes.get(_text(form, "code"))
        return code.realm if code else ""

    def _form(self, query: QueryParams) -> str:
        fields = ("client_id", "redirect_uri", "scope", "state")
        hidden = "".join(
            f'<input type="hidden" name="{name}" value="{escape(query.get(name, ""))}">' for name in fields
        )
        options = "".join(
            f'<option value="{escape(company.realm)}">{escape(company.name)}</option>'
            for company in self._world.companies.values()
        )
        form = (
            f'<form method="post" action="/connect/oauth2">{hidden}'
            f'<label>Company <select name="realm">{options}</select></label>'
            '<button name="decision" value="approve">Approve</button>'
            '<button name="decision" value="deny">Deny</button></form>'
        )
        return _PAGE.format(title="Connect to QuickBooks (sandbox)", content=form)


class _Traced(APIRoute):
    """Every answer carries an `intuit_tid`, as those of the company endpoints do."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, its answer stamped."""
        handler = super().get_route_handler()

        async def traced(request: Request) -> Response:
            answer = await handler(request)
            answer.headers["intuit_tid"] = f"1-oauth-{secrets.token_hex(8)}"
            return answer

        return traced


def _issuer(request: Request) -> str:
    return f"{request.base_url}op/v1"


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _refused(refusal: TokenRefusal) -> Response:
    body = {"error": refusal.error, "error_description": refusal.description}
    return JSONResponse(body, refusal.status, headers={"cache-control": "no-store"})


def _error_page(problem: str) -> Response:
    page = _PAGE.format(title="Uh oh, there's a connection problem", content=f"<p>{escape(problem)}</p>")
    return HTMLResponse(page, 400)


def _back(redirect_uri: str, values: dict[str, str]) -> Response:
    glue = "&" if "?" in redirect_uri else "?"
    return RedirectResponse(f"{redirect_uri}{glue}{urlencode(values)}", 302)
