"""The wire to QuickBooks Online: calls written down before they are made, errors that say what is known."""

from __future__ import annotations
