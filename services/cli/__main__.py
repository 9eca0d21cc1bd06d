"""`python -m services.cli` is `algasync`."""

from __future__ import annotations

from services.cli import main

main()
