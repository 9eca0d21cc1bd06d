"""JSON bodies in which money stays exact: Decimal in, Decimal out, never a float.

Bodies are written in ASCII (other characters as \\u escapes), because Intuit reads US companies' bodies as
ISO-8859-1 and others' as UTF-8, and ASCII is the same bytes in both.
https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import simplejson


def dump(data: object) -> str:
    """Write JSON: a Decimal becomes a number with exactly its digits, a date its ISO form.

    Raises TypeError for a float (money would lose cents) and ValueError for NaN or infinity; both name the
    place.
    """
    return simplejson.dumps(_exact(data, ""), use_decimal=True, separators=(",", ":"))


def load(text: str) -> Any:
    """Read JSON; a number with a fraction becomes a Decimal with the digits sent. ValueError if no JSON."""
    return simplejson.loads(text, use_decimal=True)


def _exact(value: Any, path: str) -> Any:
    """Return the value in forms that JSON can hold, exact ones only; `path` names the place in an error."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{path or 'value'} is {value}; QuickBooks takes finite numbers only")
        # Some Decimals call themselves 1E+2: allowed in JSON, but not the digits a bookkeeper would write.
        return simplejson.RawJSON(format(value, "f")) if "E" in str(value) else value
    if isinstance(value, Mapping):
        return {str(key): _exact(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    raise TypeError(
        f"{path or 'value'} is a {type(value).__name__}; send money and quantities as Decimal, text as str"
    )
