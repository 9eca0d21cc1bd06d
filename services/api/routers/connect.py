"""The browser's pages on the way to Intuit and back. No key opens them: a ticket, then state and cookie, do."""

from __future__ import annotations

from html import escape
from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from fastapi import APIRouter, Cookie, Depends, Form, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.api.context import Context
from services.api.work import acting, context_of
from services.connections import facts, oauth_flow
from services.connections.application import CALLBACK_PATH, CONNECT_PATH
from services.connections.clients import Clients
from services.connections.companies import Company
from services.connections.oauth_flow import MINUTES, SUCCESS, Outcome, Returned
from services.refusals import Refusal

COOKIE = "algasync_oauth"

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem; color: #222 }}
h1 {{ font-size: 1.4rem }} dt {{ color: #666 }} dd {{ margin: 0 0 .6rem }}
button {{ font: inherit; padding: .6rem 1.2rem; border: 0; border-radius: .3rem; background: #2ca01c; color: #fff }}
</style></head><body><h1>{title}</h1>{content}</body></html>"""

Web = Annotated[Context, Depends(context_of)]
Ticket = Annotated[str, Query(max_length=500)]


@router.get(CONNECT_PATH)
def page(context: Web, ticket: Ticket = "") -> Response:
    """Show who connects what, with the button that goes to Intuit. Looking at it uses nothing up."""
    tenant, opener = oauth_flow.tenant_of(ticket), None
    if tenant is not None:
        with context.database.transaction(tenant) as connection:
            opener = oauth_flow.opener(connection, ticket)
    if tenant is None or opener is None:
        return _stale(context)
    content = (
        f"<dl><dt>Tenant</dt><dd>{escape(tenant)}</dd><dt>Started by</dt><dd>{escape(opener)}</dd>"
        f"<dt>Intuit environment</dt><dd>{context.intuit.environment.name}</dd></dl>"
        "<p>You will sign in at Intuit and choose the company. Continue only if you started this yourself.</p>"
        f'<form method="post" action="{CONNECT_PATH}"><input type="hidden" name="ticket" value="{escape(ticket)}">'
        "<button>Connect QuickBooks</button></form>"
    )
    return _html(context, "Connect QuickBooks", content)


@router.post(CONNECT_PATH)
def start(request: Request, context: Web, ticket: Annotated[str, Form(max_length=500)] = "") -> Response:
    """Bind this browser to the ticket and send it to Intuit."""
    tenant = oauth_flow.tenant_of(ticket)
    if tenant is None:
        return _stale(context)
    try:
        with acting(context, request).database.transaction(tenant) as connection:
            departure = oauth_flow.follow(connection, context.intuit, ticket)
    except Refusal as refused:
        return _html(context, "QuickBooks is not connected", f"<p>{escape(refused.sentence)}</p>", 400)
    response = RedirectResponse(departure.authorize_url, 303)
    callback = urlsplit(context.intuit.redirect_uri)
    response.set_cookie(
        COOKIE,
        departure.cookie,
        max_age=MINUTES * 60,
        path=callback.path,
        secure=callback.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


@router.get(CALLBACK_PATH)
def callback(
    request: Request,
    context: Web,
    state: Annotated[str, Query(max_length=500)] = "",
    code: Annotated[str, Query(max_length=2000)] = "",
    realm: Annotated[str, Query(alias="realmId", max_length=100)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
    cookie: Annotated[str, Cookie(alias=COOKIE, max_length=500)] = "",
) -> Response:
    """Where Intuit sends the browser back to."""

    def connected(company: Company) -> Company:
        clients = Clients(context.database, context.intuit, context.attention, company.tenant_id)
        try:
            return facts.read(context.database, clients, company.tenant_id, company.company_id)
        finally:
            clients.close()

    returned = Returned(state=state, code=code, realm_id=realm, error=error, cookie=cookie)
    database = acting(context, request).database
    outcome = oauth_flow.finish(database, context.intuit, context.attention, returned, connected=connected)
    if outcome.return_to:
        response: Response = RedirectResponse(_address(outcome), 303)
    else:
        good = outcome.code == SUCCESS
        title = "QuickBooks is connected" if good else "QuickBooks is not connected"
        response = _html(context, title, f"<p>{escape(outcome.sentence)}</p>", 200 if good else 400)
    response.delete_cookie(COOKIE, path=urlsplit(context.intuit.redirect_uri).path)
    return response


def _address(outcome: Outcome) -> str:
    """The PSA's address with how it ended, in the words its panel reads."""
    parts = urlsplit(outcome.return_to)
    told = (
        {"qbo_status": SUCCESS}
        if outcome.code == SUCCESS
        else {"qbo_status": "failure", "qbo_error": outcome.code}
    )
    told |= {"qbo_message": outcome.sentence}
    if outcome.company is not None:
        told |= {"qbo_realm": outcome.company.realm_id}
    query = [pair for pair in parse_qsl(parts.query) if pair[0] not in told] + list(told.items())
    return urlunsplit(parts._replace(query=urlencode(query)))


def _stale(context: Context) -> Response:
    said = f"This link was used before or is older than {MINUTES} minutes. Go back and click Connect QuickBooks again."
    return _html(context, "QuickBooks is not connected", f"<p>{said}</p>", 400)


def _html(context: Context, title: str, content: str, status: int = 200) -> Response:
    intuit = urlsplit(context.intuit.environment.authorize)
    policy = (
        # The form is answered with a redirect to Intuit, which browsers count as a target of the form.
        f"default-src 'none'; style-src 'unsafe-inline'; form-action 'self' {intuit.scheme}://{intuit.netloc};"
        " frame-ancestors 'none'; base-uri 'none'"
    )
    return HTMLResponse(
        _PAGE.format(title=escape(title), content=content), status, {"Content-Security-Policy": policy}
    )
