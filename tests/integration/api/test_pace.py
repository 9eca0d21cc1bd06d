"""How often a caller may ask: for the whole fleet, told in every answer, and refused in words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from services.api import keys, pace
from services.api.keys import Scope
from tests.support.api import TENANT, Caller, Served


def limited(served: Served, per_minute: int, name: str = "slow") -> Caller:
    """Somebody whose key may call that often."""
    with served.fleet.transaction(TENANT) as connection:
        made = keys.create(
            connection, TENANT, name=name, scopes=[Scope.READ], actor="operator", per_minute=per_minute
        )
    return Caller(served.url, made.secret, TENANT)


def test_a_caller_that_asks_too_often_is_told_when_to_come_back(served: Served) -> None:
    """The limit's worth of requests goes through, the next is 429 with Retry-After; other callers go on."""
    slow, other = limited(served, 3), limited(served, 3, "other")
    answers = [slow("GET", "/v1/pause") for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert [one.headers["RateLimit"].split(";")[1] for one in answers] == ["r=2", "r=1", "r=0", "r=0"]
    assert {one.headers["RateLimit-Policy"] for one in answers} == {'"minute";q=3;w=60'}
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 20
    assert answers[3].json()["code"] == "too_many_requests"
    assert other("GET", "/v1/pause").status_code == 200


def test_at_the_same_moment_nobody_gets_more(served: Served) -> None:
    """Requests that come together are counted one by one, in the database that all processes share."""
    caller = limited(served, 5)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: caller("GET", "/v1/pause").status_code, range(12)))
    assert sorted(codes) == [200] * 5 + [429] * 7


def test_without_a_limit_of_its_own_a_key_has_the_installations(served: Served) -> None:
    """Every answer tells the policy, refusals too."""
    answer = served.manager("GET", "/v1/nothing-here")
    assert answer.status_code == 404
    answer = served.manager("GET", "/v1/operations", params={"limit": 0})
    assert answer.status_code == 422
    assert answer.headers["RateLimit-Policy"] == f'"minute";q={pace.PER_MINUTE};w=60'
