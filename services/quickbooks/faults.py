"""Faults: the three shapes in which QuickBooks refuses, read into one.

The business layer writes `Fault`, the gateway in front of it writes `fault`, and the gateway also answers in
XML although JSON was asked. Codes come with or without leading zeros. HTTP 200 may carry a fault too.
https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from services.quickbooks.fault_codes import TABLE, Code, FaultKind

__all__ = ["TABLE", "Code", "Fault", "FaultKind", "from_json", "from_status", "from_xml", "normalized"]

# What the gateway writes into Message when it leaves the code out.
_CODE_IN_MESSAGE = re.compile(r"errorCode=(\d+)")


@dataclass(frozen=True, slots=True)
class Fault:
    """One refusal: `code` without leading zeros ("" when QuickBooks named none), `kind` what it asks for.

    `message`, `detail` and `element` are Intuit's texts as they came; `detail` may hold names of clients and
    stays out of logs. `name` and `advice` come from the table. `settles` says that nothing was changed.
    `others` are further errors of the same answer.
    """

    code: str
    kind: FaultKind
    name: str
    advice: str
    message: str = ""
    detail: str = ""
    element: str = ""
    type: str = ""
    settles: bool = True
    others: tuple[Fault, ...] = ()

    @property
    def label(self) -> str:
        """Code and name, fit for a log line."""
        return f"{self.code} {self.name}".strip()


def normalized(code: object) -> str:
    """Return a code as the table writes it: no spaces, no leading zeros; "" for none."""
    text = "" if code is None else str(code).strip()
    return text.lstrip("0") or text[-1:]


def from_json(data: object, status: int) -> Fault | None:
    """Find the fault in a parsed answer, business (`Fault`) or gateway (`fault`) shape; None without one."""
    if not isinstance(data, Mapping):
        return None
    fault = data.get("Fault", data.get("fault"))
    if not isinstance(fault, Mapping):
        return None
    lowered = {str(key).lower(): value for key, value in fault.items()}
    errors = lowered.get("error")
    listed = errors if isinstance(errors, list) else [errors]
    found = [_lowered(error) for error in listed if isinstance(error, Mapping)]
    return _fault(found, str(lowered.get("type") or ""), status)


def from_xml(text: str, status: int) -> Fault | None:
    """Find the fault in an XML answer; None when the text is no XML (or a hostile one) or holds no fault."""
    try:
        root = fromstring(text)
    except (ParseError, DefusedXmlException, ValueError):
        return None
    fault = next((node for node in root.iter() if _local(node) == "fault"), None)
    if fault is None:
        return None
    errors = [
        {**_lowered(node.attrib), **{_local(child): child.text for child in node}}
        for node in fault.iter()
        if _local(node) == "error"
    ]
    return _fault(errors, fault.get("type", ""), status)


def from_status(status: int) -> Fault:
    """Make a fault of an HTTP status alone, for an answer whose body says nothing."""
    return _fault([], "", status)


def _fault(errors: list[dict[str, Any]], type_: str, status: int) -> Fault:
    faults = tuple(_one(error, type_, status) for error in errors) or (_one({}, type_, status),)
    return replace(faults[0], others=faults[1:])


def _one(error: Mapping[str, Any], type_: str, status: int) -> Fault:
    message = str(error.get("message") or "").strip()
    code = normalized(error.get("code"))
    if not code and (found := _CODE_IN_MESSAGE.search(message)):
        code = normalized(found[1])
    known = _by_status(status) if status == 429 else TABLE.get(code) or _by_type(type_, status)
    return Fault(
        code=code,
        kind=known.kind,
        name=known.name,
        advice=known.advice,
        message=message,
        detail=str(error.get("detail") or "").strip(),
        element=str(error.get("element") or "").strip(),
        type=type_,
        settles=known.settles,
    )


def _by_type(type_: str, status: int) -> Code:
    """Classify a code that the table does not know."""
    named = type_.lower()
    if status == 401:
        return _by_status(status)
    # Intuit's own schema spells one of them AuthorizatonFault.
    if named.startswith(("authentication", "authoriz")):
        return TABLE["100"]._replace(name=type_)
    if named.startswith("validation"):
        return TABLE["6000"]._replace(name=type_)
    if named.startswith("system") and status < 500:
        return TABLE["10000"]._replace(name=type_)
    return _by_status(status)


def _by_status(status: int) -> Code:
    if status == 429:
        return TABLE["3001"]
    if status == 401:
        return TABLE["3200"]
    if status == 403:
        return TABLE["3100"]
    if status == 404:
        return Code("bug", "Not Found", "Check the address: path, realm and environment.")
    if status == 408 or status >= 500:
        return Code(
            "transient",
            f"HTTP {status}",
            "Send the same bytes under the same request id again.",
            settles=False,
        )
    if 400 <= status < 500:
        return Code("bug", f"HTTP {status}", "QuickBooks refuses the call without a reason; check its form.")
    return TABLE["10000"]


def _lowered(error: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in error.items()}


def _local(node: Element) -> str:
    return str(node.tag).rpartition("}")[2].lower()
