"""A clock that is wrong: as `sitecustomize` of a process it moves what Python takes for the time of day.

The product knows nothing of it. Intervals (`time.monotonic`) and the clocks of the servers stay as they are, as they
do on a machine whose clock was set wrongly.
"""

from __future__ import annotations

import ctypes
import datetime
import gc
import os
import time
from typing import Final

SETTING: Final = "CLOCK_AHEAD_SECONDS"


def shift(seconds: float) -> None:
    """Move the time of day of this process by so many seconds; `date.today` follows `time.time`."""
    real, real_ns = time.time, time.time_ns
    now = datetime.datetime.now
    ahead = datetime.timedelta(seconds=seconds)
    # The class itself is changed, because it is written in C and everybody holds it already.
    (methods,) = [one for one in gc.get_referents(datetime.datetime.__dict__) if isinstance(one, dict)]

    def moved(_class: type[datetime.datetime], tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return now(tz) + ahead

    methods["now"] = classmethod(moved)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * 1e9)


if SETTING in os.environ:
    shift(float(os.environ[SETTING]))
