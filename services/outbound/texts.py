"""Texts as QuickBooks takes them: no longer than the field, and without characters that its XML cannot hold.

https://www.w3.org/TR/xml/#charsets
"""

from __future__ import annotations

import re
from typing import Final

_CUT: Final = "..."
_UNHELD: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def fitted(text: str, longest: int) -> str:
    """The text, cut where it is too long for its field, and showing it; what cannot be held is a space.

    A character beyond the basic plane, such as an emoji, counts as two: whoever counts it as one is content as well.
    """
    clean = _UNHELD.sub(" ", text)
    units = clean.encode("utf-16-le")
    if len(units) <= 2 * longest:
        return clean
    return units[: 2 * (longest - len(_CUT))].decode("utf-16-le", "ignore") + _CUT
