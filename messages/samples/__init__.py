"""Sample events, one file a type at least: documentation, examples of the AsyncAPI document, and material for tests.

A sample is named after its type, with a word for the special case it shows: `com.algapsa.billing.payment.recorded.v1`,
`com.algapsa.billing.payment.recorded.v1.jpy`.
"""

from __future__ import annotations

from importlib import resources

_SUFFIX = ".json"


def names() -> list[str]:
    """Return the names of all samples, sorted."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX))


def read(name: str) -> bytes:
    """Return the event of this name as bytes; raises FileNotFoundError."""
    return resources.files(__name__).joinpath(name + _SUFFIX).read_bytes()
