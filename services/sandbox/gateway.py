"""Answers that do not come from the books: gateway refusals, and what the troubles in force make of a request."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response

from services.sandbox import faults
from services.sandbox.answers import Cut, CutWithin, Hang
from services.sandbox.switches import Switches
from services.sandbox.troubles import Trouble

JSON = "application/json;charset=UTF-8"
_PAGE = "<html><head><title>{0}</title></head><body><h1>{0} Service unavailable</h1></body></html>"


def refusal(
    switches: Switches, fault: faults.GatewayRefusal, now: float, *, form: str = "", retry_after: int = 0
) -> Response:
    """A gateway refusal in the form that the switches (or a trouble's `form`) ask for."""
    throttle = fault.code == "3001"
    form = form or switches.gateway_format
    body, media_type = fault.body(now, xml=form == "xml" or (form == "auto" and throttle))
    answer = Response(body, switches.throttle_status if throttle else fault.status, media_type=media_type)
    wait = retry_after or (switches.retry_after_seconds if throttle else 0)
    if wait:
        answer.headers["retry-after"] = str(wait)
    return answer


def beforehand(fired: Iterable[Trouble], switches: Switches, now: float) -> Response | None:
    """The answer of the first trouble that keeps the request from being carried out."""
    for trouble in fired:
        answer = _instead(trouble, switches, now)
        if answer is not None:
            return answer
    return None


def afterwards(fired: Iterable[Trouble], answer: Response) -> Response:
    """What the client sees of a request that was carried out."""
    for trouble in fired:
        if trouble.kind == "cut_after":
            return Cut()
        if trouble.kind == "hang_after":
            return Hang(trouble.seconds)
        if trouble.kind == "cut_within":
            return CutWithin(answer)
    return answer


def _instead(trouble: Trouble, switches: Switches, now: float) -> Response | None:
    match trouble.kind:
        case "cut_before":
            return Cut()
        case "hang_before":
            return Hang(trouble.seconds)
        case "throttle":
            return refusal(
                switches, faults.throttled(), now, form=trouble.format, retry_after=trouble.retry_after
            )
        case "unauthorized":
            return refusal(switches, faults.unauthenticated("Token expired"), now, form=trouble.format)
        case "forbidden":
            return refusal(switches, faults.unauthorized_application(), now, form=trouble.format)
        case "company_status":
            fault = faults.company_status()
            return Response(fault.body(now), fault.status, media_type=JSON)
        case "fault":
            fault = faults.Refusal(trouble.code, trouble.message, trouble.detail, kind=trouble.fault_type)
            return Response(fault.body(now), trouble.status or 400, media_type=JSON)
        case "server_error":
            status = trouble.status or 503
            return Response(_PAGE.format(status), status, media_type="text/html")
        case _:
            return None
