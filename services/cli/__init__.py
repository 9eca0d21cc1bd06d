"""The command line: the one place that may know every room, and the operators' tool."""

from __future__ import annotations


def main() -> None:
    """Entry point of `algasync`."""
    from services.cli.application import run

    run()
