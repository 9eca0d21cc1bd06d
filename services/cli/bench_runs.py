"""Several runs of one measurement: their medians, how far they lie apart, and each run's own figures."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli import console

Runs = Annotated[int, typer.Option(min=1, max=100, help="Runs; figures are their medians, each run is kept.")]
"""How often a bench measures."""

Figures = Mapping[str, Any]
"""One run: numbers, or figures by name, or lists of names."""


def report(runs: Sequence[Figures], *, sums: Collection[str] = ()) -> dict[str, Any]:
    """What all runs say together: medians by the names of the figures, `spread`, `runs` and `machine`.

    `sums` names counts of which none may hide behind a median (what was lost, answers of 429): they are added up. A
    name in a list of any run is in the list of all. `spread` gives the least and the most of each number.
    """
    return {
        **{name: _together([run[name] for run in runs], name in sums) for name in runs[0]},
        "spread": {name: _apart([run[name] for run in runs]) for name in runs[0]},
        "runs": [dict(run) for run in runs],
        "machine": machine(),
    }


def show(told: Mapping[str, Any]) -> None:
    """Print a report: a table of its figures, then whatever else stands in it."""
    names = list(told["spread"])
    rows = [
        (what, value, *(apart if isinstance(apart, list) else ("", "")))
        for name in names
        for what, value, apart in _flat(name.replace("_", " "), told[name], told["spread"][name])
    ]
    console.table(["WHAT", "MEDIAN", "LEAST", "MOST"], rows)
    kept = {name: value for name, value in told.items() if name not in {*names, "spread", "runs", "machine"}}
    console.facts((name.replace("_", " "), value) for name, value in kept.items())
    console.facts([("runs", len(told["runs"])), *told["machine"].items()])


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was at the end."""
    return {
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)]


def _together(values: Sequence[Any], summed: bool) -> Any:
    if isinstance(values[0], Mapping):
        return {name: _together([one.get(name, 0) for one in values], summed) for name in _names(values)}
    if isinstance(values[0], list):
        return sorted({name for one in values for name in one})
    return sum(values) if summed else round(statistics.median(values), 4)


def _apart(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        return {name: _apart([one.get(name, 0) for one in values]) for name in _names(values)}
    return [] if isinstance(values[0], list) else [min(values), max(values)]


def _names(values: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for one in values for name in one))


def _flat(name: str, value: Any, apart: Any) -> Iterator[tuple[str, Any, Any]]:
    if not isinstance(value, Mapping):
        yield name, value, apart
        return
    for below in value:
        yield from _flat(f"{name}: {below}", value[below], apart[below])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
