"""The demonstration: a tenant's month of billing, from transaction to QuickBooks, with one thing that goes wrong."""

from __future__ import annotations
