"""What the API works with, made once by whoever starts it."""

from __future__ import annotations

from dataclasses import dataclass

from services.connections.companies import Attention
from services.connections.intuit import Intuit
from services.database import Database


@dataclass(frozen=True, slots=True)
class Context:
    """The database in the API's own role, Intuit as this installation sees it, and the exception list."""

    database: Database
    intuit: Intuit
    attention: Attention
