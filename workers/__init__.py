"""The fleet: topology, broker, consumers, actors, dispatcher, scheduler, dead-letter collector."""

from __future__ import annotations
