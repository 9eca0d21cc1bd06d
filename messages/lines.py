"""Lines of a document, and whether they add up: every line counts exactly once.

1. line ids are unique; `parent_id` and `applies_to` name other lines of the same document
2. a line's `tax_components`, when given, add up to its `tax_amount`
3. a line that only groups others carries 0, or the lines below it do: an amount stands in one place, so that
   the plain sum over all lines is the sum of the document
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from messages.errors import Problem
from messages.shape import (
    Date,
    DecimalText,
    Identifier,
    Minor,
    Name,
    OptionalIdentifier,
    OptionalText,
    Rate,
    Rows,
    Shape,
    Text,
)


class TaxComponent(Shape):
    """One tax on a line, such as the county's part."""

    name: Name
    rate: Rate | None = None
    """Percent, "8.875"."""
    amount: Minor
    region: OptionalText = None


class Line(Shape):
    """What was sold, or a discount."""

    id: Identifier
    parent_id: OptionalIdentifier = None
    """Id of the line of this document that groups this one."""
    service_id: OptionalIdentifier = None
    category_id: OptionalIdentifier = None
    description: Text
    quantity: DecimalText
    unit_price: DecimalText
    """In whole currency units and before tax; may be below a cent: "0.0045"."""
    net_amount: Minor
    """What the line costs before tax. It is never recomputed from quantity and price."""
    tax_amount: Minor
    tax_components: Rows[TaxComponent] | None = None
    tax_region: OptionalText = None
    tax_rate: Rate | None = None
    """Percent, "8.875"."""
    is_taxable: bool
    is_discount: bool
    """A discount line has a negative net_amount (positive on a credit note)."""
    applies_to: OptionalIdentifier = None
    """Id of the line of this document that a discount lowers."""
    service_period_start: Date | None = None
    service_period_end: Date | None = None
    class_: Annotated[OptionalText, Field(alias="class")] = None


def check_lines(lines: Sequence[Line]) -> list[Problem]:
    """Return what is wrong with the lines by themselves."""
    ids = {line.id for line in lines}
    problems = _repeated_ids(lines) if len(ids) != len(lines) else []
    for index, line in enumerate(lines):
        if line.parent_id is not None and (line.parent_id not in ids or line.parent_id == line.id):
            problems.append(_not_a_line(index, "parent_id", line.parent_id))
        if line.applies_to is not None and (line.applies_to not in ids or line.applies_to == line.id):
            problems.append(_not_a_line(index, "applies_to", line.applies_to))
        if line.tax_components:
            parts = sum(component.amount for component in line.tax_components)
            if parts != line.tax_amount:
                problems.append(
                    Problem(
                        f"lines[{index}].tax_components",
                        f"add up to {parts}, but the line's tax_amount is {line.tax_amount}; make them equal",
                    )
                )
        start, end = line.service_period_start, line.service_period_end
        if start and end and end < start:
            problems.append(
                Problem(
                    f"lines[{index}].service_period_end",
                    f"is {end}, before the period starts on {start}; swap or correct them",
                )
            )
    return problems


def repeated_groups(lines: Sequence[Line]) -> list[Problem]:
    """Return the grouping lines whose amount stands on the lines below them too: why a sum is too high."""
    below: dict[str, int] = {}
    for line in lines:
        if line.parent_id is not None:
            below[line.parent_id] = below.get(line.parent_id, 0) + line.net_amount
    return [
        Problem(
            f"lines[{index}].net_amount",
            f"is {line.net_amount}, and the lines below it carry that amount again; "
            "send 0 on the grouping line or on the lines below it",
        )
        for index, line in enumerate(lines)
        if line.net_amount and below.get(line.id) == line.net_amount
    ]


def _repeated_ids(lines: Sequence[Line]) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for index, line in enumerate(lines):
        if line.id in first:
            problems.append(
                Problem(f"lines[{index}].id", f"is also the id of lines[{first[line.id]}]; give each its own")
            )
        first.setdefault(line.id, index)
    return problems


def _not_a_line(index: int, field: str, value: str) -> Problem:
    return Problem(
        f"lines[{index}].{field}",
        f"is {value!r}, which is not the id of another line of this document; correct it or leave it out",
    )
