"""What Intuit says when it refuses: business faults, gateway faults (JSON and XML), and our own 'not modelled'.

Texts and codes follow https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes.
"""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from services.sandbox.amounts import encode
from services.sandbox.clock import envelope_time, stamp

NOT_MODELLED = "sandbox-not-modelled"


class Refusal(Exception):
    """A business fault; rendered with upper-case `Fault` and HTTP 400 unless said otherwise."""

    def __init__(
        self,
        code: str,
        message: str,
        detail: str = "",
        element: str = "",
        *,
        status: int = 400,
        kind: str = "ValidationFault",
    ) -> None:
        super().__init__(f"{code} {message}: {detail}")
        self.code = code
        self.message = message
        self.detail = detail or message
        self.element = element
        self.status = status
        self.kind = kind

    def fault(self) -> dict[str, object]:
        """The `Fault` object, as it stands in a reply or in a batch item."""
        error = {
            "Message": self.message,
            "Detail": self.detail,
            "code": self.code,
            "element": self.element,
        }
        return {"Error": [error], "type": self.kind}

    def body(self, now: float) -> bytes:
        """The whole reply."""
        return encode({"Fault": self.fault(), "time": envelope_time(now)})


class NotModelled(Refusal):
    """The sandbox does not know how QuickBooks behaves here and says so instead of inventing an answer."""

    def __init__(self, what: str) -> None:
        super().__init__(
            NOT_MODELLED,
            "The sandbox does not model this request",
            f"Not modelled: {what}. See docs/sandbox.md; a real company may accept it.",
            kind="SandboxFault",
        )
        self.what = what


class GatewayRefusal(Exception):
    """A refusal of the layer before the company: authentication, authorization, throttling."""

    def __init__(self, status: int, code: str, message: str, kind: str, detail: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = f"message={message}; errorCode={code.zfill(6)}; statusCode={status}"
        self.kind = kind
        self.detail = detail

    def body(self, now: float, *, xml: bool) -> tuple[bytes, str]:
        """The reply and its content type; `xml` whatever the client's `Accept` said, as the gateway does."""
        if xml:
            detail = f"<Detail>{self.detail}</Detail>" if self.detail else ""
            text = (
                '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
                f'<IntuitResponse time="{stamp(now)}" xmlns="http://schema.intuit.com/finance/v3">'
                f"<Fault type={quoteattr(self.kind)}><Error code={quoteattr(self.code)}>"
                f"<Message>{self.message}</Message>{detail}</Error></Fault></IntuitResponse>"
            )
            return text.encode(), "application/xml;charset=UTF-8"
        error = {"message": self.message, "detail": self.detail, "code": self.code, "element": None}
        reply: dict[str, object] = {
            "warnings": None,
            "intuitObject": None,
            "fault": {"error": [error], "type": self.kind},
            "report": None,
            "queryResponse": None,
            "batchItemResponse": [],
            "attachableResponse": [],
            "syncErrorResponse": None,
            "requestId": None,
            "time": int(now * 1000),
            "status": None,
            "cdcresponse": [],
        }
        return encode(reply), "application/json;charset=UTF-8"


def throttled() -> GatewayRefusal:
    """429: the company's share of requests is used up (3001)."""
    return GatewayRefusal(429, "3001", "ThrottleExceeded", "SERVICE")


def unauthenticated(detail: str) -> GatewayRefusal:
    """401: the access token is missing, expired, revoked or unknown (3200)."""
    return GatewayRefusal(401, "3200", "AuthenticationFailed", "AUTHENTICATION", detail)


def unauthorized_application() -> GatewayRefusal:
    """403: the token belongs to another company or the app was disconnected (3100)."""
    return GatewayRefusal(403, "3100", "ApplicationAuthorizationFailed", "SERVICE")


def company_status() -> Refusal:
    """6190: subscription ended or payment problem; nothing works until a person acts."""
    return Refusal(
        "6190",
        "Invalid Company Status",
        "Subscription period has ended or canceled or there was a billing problem : You can't perform this"
        " operation until the subscription is active again.",
        status=403,
    )


def required(element: str) -> Refusal:
    """2020: a required field is missing."""
    return Refusal(
        "2020",
        "Required param missing, need to supply the required value for the API",
        f"Required parameter {element} is missing in the request",
        element,
    )


def unknown_property(name: str) -> Refusal:
    """2010: a property that the entity does not have."""
    return Refusal(
        "2010",
        "Request has invalid or unsupported property",
        f"Property Name:{name} specified is unsupported or invalid",
        name,
    )


def malformed(detail: str) -> Refusal:
    """2010 as well: the body cannot be read at all."""
    return Refusal("2010", "Request has invalid or unsupported property", f"Malformed request: {detail}")


def too_long(element: str, limit: int, length: int) -> Refusal:
    """2050: the text is longer than the field."""
    return Refusal(
        "2050",
        "String length is either shorter or longer than supported by specification",
        f"String length specified does not match the supported length. Min:0 Max:{limit} Supported."
        f" Supplied length:{length}",
        element,
    )


def invalid_number(element: str, value: object) -> Refusal:
    """2090: not a number, or one with more than fifteen digits."""
    return Refusal("2090", "Invalid Number", f"Invalid Number : {element}. Supplied value:{value}", element)


def invalid_date(element: str, value: object) -> Refusal:
    """2060: not a date."""
    return Refusal(
        "2060",
        "Invalid Date",
        f"Invalid Date : {element} must be yyyy-MM-dd. Supplied value:{value}",
        element,
    )


def invalid_choice(element: str, value: object) -> Refusal:
    """2170: not one of the enumeration's words."""
    return Refusal(
        "2170", "Invalid Enumeration", f"Invalid Enumeration : {element}. Supplied value:{value}", element
    )


def invalid_email(element: str) -> Refusal:
    """2210: an e-mail address needs an @ and a dot."""
    return Refusal("2210", "Email Address does not conform to the syntax rules of RFC 822", "", element)


def invalid_string(element: str, detail: str) -> Refusal:
    """2040: characters that the field does not take."""
    return Refusal("2040", "Invalid String", f"Invalid String : {detail}", element)


def invalid_id(value: object) -> Refusal:
    """2030: an Id must be a number."""
    return Refusal("2030", "Invalid ID", f"Id should be a valid number. Supplied value:{value}", "Id")


def invalid_reference(kind: str, key: str, element: str) -> Refusal:
    """2500: the reference names nothing in this company."""
    return Refusal(
        "2500", "Invalid Reference Id", f"Invalid Reference Id : {kind} element id {key} not found", element
    )


INACTIVE = (
    "Something you're trying to use has been made inactive. Check the fields with accounts, customers,"
    " items, vendors or employees."
)


def inactive_reference(code: str, element: str) -> Refusal:
    """610 (or 2500 or, for customers, 6250, by switch): the reference names something inactive."""
    if code == "6250" and element != "CustomerRef":
        code = "610"
    title = {"610": "Object Not Found", "2500": "Invalid Reference Id", "6250": "Invalid Customer"}[code]
    return Refusal(code, title, f"{title} : {INACTIVE}", element)


def not_found(entity: str, key: str) -> Refusal:
    """610: no such object, or somebody deleted it."""
    return Refusal(
        "610",
        "Object Not Found",
        f"Object Not Found : {entity} {key} does not exist; another user may have deleted this transaction.",
    )


def stale() -> Refusal:
    """5010: the SyncToken is not the current one."""
    return Refusal(
        "5010",
        "Stale Object Error",
        "Stale Object Error : You and another user were working on this at the same time. The other user"
        " finished before you did, so your work was not saved.",
    )


def duplicate_name() -> Refusal:
    """6240: customers, vendors and employees share one set of names, inactive ones included."""
    return Refusal(
        "6240",
        "Duplicate Name Exists Error",
        "The name supplied already exists. : Another customer, vendor or employee is already using this"
        " name. Please use a different name.",
    )


def duplicate_number(number: str, entity: str, key: str) -> Refusal:
    """6140: the company warns about duplicate document numbers."""
    return Refusal(
        "6140",
        "Duplicate Document Number Error",
        "Duplicate Document Number Error : You must specify a different number. This number has already been"
        f" used. DocNumber={number} is assigned to TxnType={entity} with TxnId={key}",
    )


def amount_mismatch(amount: object) -> Refusal:
    """6070: Amount is not UnitPrice times Qty."""
    return Refusal(
        "6070",
        "Amount calculation incorrect in the request",
        f"Amount is not equal to UnitPrice * Qty. Supplied value:{amount}",
        "Amount",
    )


def business(detail: str, code: str = "6000", element: str = "") -> Refusal:
    """6000 and its neighbours: a rule of the books, told in the detail."""
    return Refusal(
        code,
        "A business validation error has occurred while processing your request",
        f"Business Validation Error: {detail}",
        element,
    )


def unlinkable(detail: str) -> Refusal:
    """620: the transaction cannot be linked (already paid, another customer, wrong type)."""
    return Refusal("620", "Transaction could not be linked", f"Transaction could not be linked : {detail}")


def unsupported(operation: str) -> Refusal:
    """500: the entity has no such operation."""
    return Refusal("500", "Unsupported Operation", f"Operation {operation} is not supported.")


def illegal_bytes() -> Refusal:
    """500: the request has characters that its company does not take."""
    return Refusal("500", "Unsupported Operation", "Illegal characters in the request.", status=500)


def deposited() -> Refusal:
    """6540: the payment stands on a bank deposit."""
    return Refusal(
        "6540",
        "Deposited Transaction cannot be changed",
        "Deposited Transaction cannot be changed : This transaction has been deposited. To change or delete"
        " it, edit the deposit it appears on and remove it first.",
    )


def closed_period(code: str, closed: str) -> Refusal:
    """6200 or 6210 (by switch): the date lies in a closed accounting period."""
    title = "Account Period Closed, Cannot Update Through Services API"
    return Refusal(
        code,
        title,
        f"The account period has closed (books closed through {closed}) and the account books cannot be"
        " updated through the QBO Services API. Please use the QBO website to make these changes.",
    )


def query_refused(code: str, detail: str) -> Refusal:
    """4000 (cannot parse) and 4001 (property cannot be queried)."""
    title = "Error parsing query" if code == "4000" else "Invalid query"
    return Refusal(code, title, detail)
