"""`python -m services.sandbox`: a QuickBooks Online sandbox on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from services.sandbox.server import run
from services.sandbox.settings import DEFAULT_COMPANIES, CompanySpec, Settings


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m services.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of API and OAuth (0: a free one)")
    parser.add_argument("--control-port", type=int, default=0, help="port of the control API (0: a free one)")
    parser.add_argument("--state", type=Path, help="file that keeps the books over restarts")
    parser.add_argument("--seed", type=int, default=1, help="seed of every chance (troubles)")
    parser.add_argument(
        "--realms",
        nargs="+",
        type=CompanySpec.parse,
        default=DEFAULT_COMPANIES,
        metavar="REALM[:COUNTRY[:NAME]]",
        help="companies to open instead of the three default ones",
    )
    options = parser.parse_args()
    settings = Settings(companies=tuple(options.realms), state=options.state, seed=options.seed)
    run(settings, options.port, options.control_port)


if __name__ == "__main__":
    main()
