"""OAuth 2.0: the authorize page, codes, tokens that expire and rotate, revocation, discovery.

Source: https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0
"""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from services.sandbox.server import Sandbox
from services.sandbox.settings import DEFAULT_COMPANIES, App
from tests.contract.sandbox.books import APP, OTHER_APP, Books

REALM = DEFAULT_COMPANIES[0].realm
SCOPE = "com.intuit.quickbooks.accounting"
DAY = 86_400


def authorize_query(**changes: str) -> dict[str, str]:
    """What an app puts into the authorize address."""
    query = {
        "client_id": APP.client_id,
        "redirect_uri": APP.redirect_uris[0],
        "response_type": "code",
        "scope": SCOPE,
        "state": "s-1",
    }
    return {name: value for name, value in (query | changes).items() if value}


def decide(sandbox: Sandbox, decision: str = "approve", **changes: str) -> dict[str, str]:
    """A person opens the page and presses a button; the parameters that come back to the app."""
    address = f"{sandbox.addresses.api}/connect/oauth2"
    page = requests.get(address, params=authorize_query(**changes), timeout=10)
    assert page.status_code == 200, page.text
    form = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page.text))
    answer = requests.post(
        address, data={**form, "realm": REALM, "decision": decision}, timeout=10, allow_redirects=False
    )
    assert answer.headers["location"].startswith(APP.redirect_uris[0] + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def token(
    sandbox: Sandbox, app: App = APP, headers: dict[str, str] | None = None, **form: str
) -> requests.Response:
    """The token endpoint's answer."""
    address = f"{sandbox.addresses.api}/oauth2/v1/tokens/bearer"
    return requests.post(
        address, data=form, auth=(app.client_id, app.client_secret), headers=headers, timeout=10
    )


def redeem(
    sandbox: Sandbox, code: str, app: App = APP, redirect_uri: str = APP.redirect_uris[0]
) -> requests.Response:
    """A code for tokens."""
    return token(sandbox, app, grant_type="authorization_code", code=code, redirect_uri=redirect_uri)


def refresh(sandbox: Sandbox, value: str, app: App = APP) -> requests.Response:
    """A refresh token for tokens."""
    return token(sandbox, app, grant_type="refresh_token", refresh_token=value)


def connect(sandbox: Sandbox) -> dict[str, Any]:
    """Tokens by the whole dance."""
    answer = redeem(sandbox, decide(sandbox)["code"])
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def control(sandbox: Sandbox, method: str, path: str, body: Any = None) -> Any:
    """The control port."""
    answer = requests.request(method, sandbox.addresses.control + path, json=body, timeout=10)
    assert answer.ok, answer.text
    return answer.json()


def read_status(sandbox: Sandbox, access_token: str, realm: str = REALM) -> int:
    """What a read with this token answers."""
    headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
    address = f"{sandbox.addresses.api}/v3/company/{realm}/companyinfo/{realm}"
    return requests.get(address, headers=headers, timeout=10).status_code


def test_the_whole_dance(own_sandbox: Sandbox) -> None:
    """Approve: code, state and realmId come back; the code buys tokens that open the company [D-oauth]."""
    back = decide(own_sandbox)
    assert (back["state"], back["realmId"]) == ("s-1", REALM)
    tokens = redeem(own_sandbox, back["code"]).json()
    assert (tokens["token_type"], tokens["expires_in"], tokens["x_refresh_token_expires_in"]) == (
        "bearer",
        3600,
        8726400,
    )
    assert read_status(own_sandbox, tokens["access_token"]) == 200


def test_token_answers_have_intuits_id(own_sandbox: Sandbox) -> None:
    """Good and bad, so that Intuit's support can find them [SDK]."""
    good, bad = redeem(own_sandbox, decide(own_sandbox)["code"]), redeem(own_sandbox, "nonsense")
    assert (good.status_code, bad.status_code) == (200, 400)
    assert good.headers["intuit_tid"] != bad.headers["intuit_tid"]


def test_deny_comes_back_as_access_denied(own_sandbox: Sandbox) -> None:
    """Deny: error=access_denied with the state, and no code [D-oauth]."""
    assert decide(own_sandbox, "deny") == {"error": "access_denied", "state": "s-1"}


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "unknown"},
        {"redirect_uri": APP.redirect_uris[0] + "/"},
        {"redirect_uri": OTHER_APP.redirect_uris[0]},
        {"state": ""},
    ],
)
def test_bad_authorize_request_stays_on_the_page(own_sandbox: Sandbox, change: dict[str, str]) -> None:
    """Unknown app, redirect_uri that is not exactly a registered one, no state: an error page, no redirect.

    [D-oauth]
    """
    address = f"{own_sandbox.addresses.api}/connect/oauth2"
    page = requests.get(address, params=authorize_query(**change), timeout=10, allow_redirects=False)
    assert page.status_code == 400
    assert "location" not in page.headers


def test_bad_scope_comes_back_as_an_error(own_sandbox: Sandbox) -> None:
    """An unknown scope is told to the app by redirect [D-oauth]."""
    address = f"{own_sandbox.addresses.api}/connect/oauth2"
    page = requests.get(address, params=authorize_query(scope="all"), timeout=10, allow_redirects=False)
    assert "error=invalid_scope" in page.headers["location"]


def test_code_works_once(own_sandbox: Sandbox) -> None:
    """A code is single use, bound to its app and redirect_uri, and lives ten minutes [D-oauth]."""
    code = decide(own_sandbox)["code"]
    assert redeem(own_sandbox, code).status_code == 200
    assert redeem(own_sandbox, code).json()["error"] == "invalid_grant"
    code = decide(own_sandbox)["code"]
    assert redeem(own_sandbox, code, redirect_uri="http://localhost/else").json()["error"] == "invalid_grant"
    code = decide(own_sandbox)["code"]
    assert redeem(own_sandbox, code, app=OTHER_APP).json()["error"] == "invalid_grant"
    code = decide(own_sandbox)["code"]
    control(own_sandbox, "POST", "/clock", {"seconds": 601})
    assert redeem(own_sandbox, code).json()["error"] == "invalid_grant"


def test_wrong_secret_is_invalid_client(own_sandbox: Sandbox) -> None:
    """401 invalid_client for wrong credentials; credentials in the form work as well as HTTP Basic [D-oauth]."""
    wrong = App(APP.client_id, "wrong")
    value = connect(own_sandbox)["refresh_token"]
    answer = refresh(own_sandbox, value, wrong)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    form = {"grant_type": "refresh_token", "refresh_token": value}
    form |= {"client_id": APP.client_id, "client_secret": APP.client_secret}
    address = f"{own_sandbox.addresses.api}/oauth2/v1/tokens/bearer"
    assert requests.post(address, data=form, timeout=10).status_code == 200


def test_access_token_lives_an_hour(own_sandbox: Sandbox) -> None:
    """After 3600 s the API answers 401; a refresh brings a new access token [D-oauth]."""
    tokens = connect(own_sandbox)
    control(own_sandbox, "POST", "/clock", {"seconds": 3599})
    assert read_status(own_sandbox, tokens["access_token"]) == 200
    control(own_sandbox, "POST", "/clock", {"seconds": 2})
    assert read_status(own_sandbox, tokens["access_token"]) == 401
    assert (
        read_status(own_sandbox, refresh(own_sandbox, tokens["refresh_token"]).json()["access_token"]) == 200
    )


def test_lifetimes_are_switches(own_sandbox: Sandbox) -> None:
    """Short-lived tokens, to watch a client renew them [switch]."""
    control(own_sandbox, "PATCH", "/switches", {"access_token_seconds": 5, "refresh_token_seconds": 60})
    tokens = connect(own_sandbox)
    assert (tokens["expires_in"], tokens["x_refresh_token_expires_in"]) == (5, 60)
    control(own_sandbox, "POST", "/clock", {"seconds": 61})
    assert read_status(own_sandbox, tokens["access_token"]) == 401
    assert refresh(own_sandbox, tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_refresh_token_value_rotates_daily(own_sandbox: Sandbox) -> None:
    """Within a day a refresh returns the same value, later a new one; the old value then is invalid_grant [D-oauth]."""
    first = connect(own_sandbox)["refresh_token"]
    assert refresh(own_sandbox, first).json()["refresh_token"] == first
    control(own_sandbox, "POST", "/clock", {"seconds": DAY})
    second = refresh(own_sandbox, first).json()["refresh_token"]
    assert second != first
    assert refresh(own_sandbox, first).json()["error"] == "invalid_grant"
    assert refresh(own_sandbox, second).status_code == 200
    counted = control(own_sandbox, "GET", "/counters")["oauth"]
    assert (counted["refreshes"], counted["invalid_grants"]) == (4, 1)


def test_rotation_on_every_refresh_with_grace(own_sandbox: Sandbox) -> None:
    """By switch every refresh rotates, an old value lives on for a while, or its reuse ends the whole chain.

    [switch]
    """
    control(
        own_sandbox,
        "PATCH",
        "/switches",
        {"rotate_on_every_refresh": True, "old_refresh_token_grace_seconds": 60},
    )
    first = connect(own_sandbox)["refresh_token"]
    second = refresh(own_sandbox, first).json()["refresh_token"]
    assert refresh(own_sandbox, first).json()["refresh_token"] == second
    control(own_sandbox, "POST", "/clock", {"seconds": 61})
    assert refresh(own_sandbox, first).status_code == 400
    control(own_sandbox, "PATCH", "/switches", {"refresh_reuse_revokes_chain": True})
    assert refresh(own_sandbox, first).status_code == 400
    assert refresh(own_sandbox, second).status_code == 400


def test_refresh_token_ends_after_101_days_without_use(own_sandbox: Sandbox) -> None:
    """The expiry rolls with each refresh; unused for 101 days, or five years after consent, it is over.

    [D-oauth, B-token]
    """
    value = connect(own_sandbox)["refresh_token"]
    for _ in range(2):
        control(own_sandbox, "POST", "/clock", {"seconds": 100 * DAY})
        value = refresh(own_sandbox, value).json()["refresh_token"]
    control(own_sandbox, "POST", "/clock", {"seconds": 102 * DAY})
    assert refresh(own_sandbox, value).json()["error"] == "invalid_grant"


def test_overlapping_refreshes_are_counted(own_sandbox: Sandbox) -> None:
    """Two refreshes of one company at the same time are what a client must never do: the counter tells [ours]."""
    value = connect(own_sandbox)["refresh_token"]
    control(own_sandbox, "POST", "/troubles", {"kind": "latency", "entity": "oauth", "seconds": 0.3})
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: refresh(own_sandbox, value).status_code, range(2)))
    assert answers == [200, 200]
    assert control(own_sandbox, "GET", "/counters")["oauth"]["overlapping_refreshes"] == 1


def test_hard_expiry_is_told_on_request(own_sandbox: Sandbox) -> None:
    """x-include-refresh-token-hard-expires-in: true adds the end of the five years [B-token, SDK]."""
    value = connect(own_sandbox)["refresh_token"]
    header = {"x-include-refresh-token-hard-expires-in": "true"}
    form = {"grant_type": "refresh_token", "refresh_token": value}
    told = token(own_sandbox, headers=header, **form).json()
    assert 5 * 365 * DAY - 60 < told["x_refresh_token_hard_expires_in"] <= 5 * 365 * DAY
    assert "x_refresh_token_hard_expires_in" not in token(own_sandbox, **form).json()


def test_revoke_ends_everything(own_sandbox: Sandbox) -> None:
    """After a revoke the access token answers 401 and the refresh token invalid_grant [D-oauth]."""
    tokens = connect(own_sandbox)
    address = f"{own_sandbox.addresses.api}/v2/oauth2/tokens/revoke"
    credentials = (APP.client_id, APP.client_secret)
    body = {"token": tokens["refresh_token"]}
    assert requests.post(address, json=body, auth=("app-one", "wrong"), timeout=10).status_code == 401
    assert requests.post(address, json=body, auth=credentials, timeout=10).status_code == 200
    assert read_status(own_sandbox, tokens["access_token"]) == 401
    assert refresh(own_sandbox, tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert requests.post(address, json=body, auth=credentials, timeout=10).status_code == 400


def test_consent_again_ends_the_earlier_grant(own_sandbox: Sandbox) -> None:
    """One living grant for an app and a company: approving again ends the earlier one [switch]."""
    first, second = connect(own_sandbox), connect(own_sandbox)
    assert read_status(own_sandbox, first["access_token"]) == 401
    assert read_status(own_sandbox, second["access_token"]) == 200


def test_bookkeeper_disconnects_and_tokens_expire(own_sandbox: Sandbox) -> None:
    """The control port expires access or refresh tokens, and revokes as a person does inside QuickBooks [D-oauth]."""
    tokens = connect(own_sandbox)
    path = f"/companies/{REALM}/tokens"
    control(own_sandbox, "POST", path, {"action": "expire_access"})
    assert read_status(own_sandbox, tokens["access_token"]) == 401
    fresh = refresh(own_sandbox, tokens["refresh_token"]).json()
    control(own_sandbox, "POST", path, {"action": "expire_refresh"})
    assert refresh(own_sandbox, fresh["refresh_token"]).json()["error"] == "invalid_grant"
    fresh = connect(own_sandbox)
    assert control(own_sandbox, "POST", path, {"action": "revoke", "client_id": APP.client_id}) == {
        "grants": 1
    }
    assert read_status(own_sandbox, fresh["access_token"]) == 401


def test_token_of_another_company_is_forbidden(own_sandbox: Sandbox) -> None:
    """A token opens its own company only: 403, code 3100, from the gateway [D-err, seen]."""
    tokens = connect(own_sandbox)
    assert read_status(own_sandbox, tokens["access_token"], DEFAULT_COMPANIES[1].realm) == 403
    assert read_status(own_sandbox, tokens["access_token"], "123") == 403


def test_gateway_fault_shape(us: Books) -> None:
    """Authentication faults are lower case with epoch milliseconds, in JSON or (switch) XML whatever Accept says.

    [D-err, seen]
    """
    us.session.headers["Authorization"] = "Bearer wrong"
    answer = us.raw("GET", "/term/4")
    body = answer.json()
    assert (answer.status_code, body["fault"]["type"], body["fault"]["error"][0]["code"]) == (
        401,
        "AUTHENTICATION",
        "3200",
    )
    assert isinstance(body["time"], int)
    us.switch(gateway_format="xml")
    answer = us.raw("GET", "/term/4")
    assert answer.headers["content-type"].startswith("application/xml")
    assert '<Error code="3200">' in answer.text


def test_user_and_discovery(own_sandbox: Sandbox) -> None:
    """Discovery gives this server's addresses; userinfo needs the openid scope [SDK]."""
    document = requests.get(
        f"{own_sandbox.addresses.api}/.well-known/openid_configuration/", timeout=10
    ).json()
    assert document["token_endpoint"] == f"{own_sandbox.addresses.api}/oauth2/v1/tokens/bearer"
    code = decide(own_sandbox, scope=f"{SCOPE} openid")["code"]
    value = redeem(own_sandbox, code).json()["access_token"]
    headers = {"Authorization": f"Bearer {value}"}
    assert (
        requests.get(document["userinfo_endpoint"], headers=headers, timeout=10).json()["emailVerified"]
        is True
    )
    headers = {"Authorization": f"Bearer {connect(own_sandbox)['access_token']}"}
    assert requests.get(document["userinfo_endpoint"], headers=headers, timeout=10).status_code == 401


def test_a_signed_identity(own_sandbox: Sandbox) -> None:
    """With `openid` the code brings an ID token, verified by the keys that discovery names [SDK, D-oauth]."""
    found = f"{own_sandbox.addresses.api}/.well-known/openid_sandbox_configuration/"
    document = requests.get(found, timeout=10).json()
    tokens = redeem(own_sandbox, decide(own_sandbox, scope=f"{SCOPE} openid")["code"]).json()
    signed, _, signature = tokens["id_token"].rpartition(".")
    header, claims = (json.loads(decoded(part)) for part in signed.split("."))
    assert (claims["iss"], claims["aud"], claims["realmid"]) == (document["issuer"], [APP.client_id], REALM)
    assert (header["alg"], claims["exp"] - claims["iat"]) == ("RS256", 3600)
    keys = requests.get(document["jwks_uri"], timeout=10).json()["keys"]
    key = next(key for key in keys if key["kid"] == header["kid"])
    numbers = (int.from_bytes(decoded(key[name])) for name in ("e", "n"))
    RSAPublicNumbers(*numbers).public_key().verify(decoded(signature), signed.encode(), PKCS1v15(), SHA256())
    assert "id_token" not in redeem(own_sandbox, decide(own_sandbox)["code"]).json()


def decoded(part: str) -> bytes:
    """A part of a token, from base64 without its filling."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize("form", [{}, {"grant_type": "authorization_code"}, {"grant_type": "refresh_token"}])
def test_what_is_missing_is_an_invalid_request(sandbox: Sandbox, form: dict[str, str]) -> None:
    """A token request without grant type, code or refresh token is `invalid_request`, not a dead grant [D-oauth]."""
    address = f"{sandbox.addresses.api}/oauth2/v1/tokens/bearer"
    answer = requests.post(address, data=form, auth=(APP.client_id, APP.client_secret), timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_every_oauth_answer_is_traced(sandbox: Sandbox) -> None:
    """Token, revoke and user answers carry an intuit_tid too, refusals included [D-oauth, seen]."""
    paths = ("/oauth2/v1/tokens/bearer", "/v2/oauth2/tokens/revoke")
    answers = [requests.post(sandbox.addresses.api + path, data={}, timeout=10) for path in paths]
    answers.append(requests.get(f"{sandbox.addresses.api}/v1/openid_connect/userinfo", timeout=10))
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert len({answer.headers["intuit_tid"] for answer in answers}) == 3
