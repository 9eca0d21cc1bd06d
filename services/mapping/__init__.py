"""What of ours is what in QuickBooks, and how a tenant wants its sync."""

from __future__ import annotations
