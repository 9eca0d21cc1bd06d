"""A QuickBooks Online company on this machine: real HTTP, real OAuth 2, and the refusals of the original.

It stands alone: nothing of the project is imported here, and nothing here is bent to let a client pass.
`docs/sandbox.md` lists what it models and where each rule comes from.
"""

from __future__ import annotations
