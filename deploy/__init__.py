"""How algasync is deployed; `local` starts what a bare machine lacks."""

from __future__ import annotations
