"""Mappings as a CSV sheet: what a spreadsheet shows, edits and gives back.

What comes out goes in again and changes nothing.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable

from services import spreadsheets
from services.mapping.mappings import Mapping
from services.onboarding.assigning import Wanted
from services.refusals import invalid

COLUMNS = (
    "kind",
    "key",
    "variant",
    "quickbooks_id",
    "quickbooks_name",
    "details",
    "updated_at",
    "updated_by",
)
REQUIRED = ("kind", "key")
MOST = 20_000
"""Rows of one sheet."""


def write(mappings: Iterable[Mapping]) -> str:
    """The sheet of these mappings, in their order."""
    return spreadsheets.write(
        COLUMNS,
        (
            (
                one.kind,
                one.key,
                one.variant,
                one.external_id,
                one.external_name,
                json.dumps(one.details, ensure_ascii=False) if one.details else "",
                one.updated_at,
                one.updated_by,
            )
            for one in mappings
        ),
    )


def read(sheet: str) -> list[Wanted]:
    """The mappings of a sheet. Without a `quickbooks_id` the name says which one is meant.

    Raises `Refusal` when it is no such sheet; what a row means is judged by `assigning.put_all`, whose row numbers
    begin with 1 below the header.
    """
    rows = csv.reader(io.StringIO(sheet.removeprefix("\ufeff"), newline=""), strict=True)
    found: list[Wanted] = []
    try:
        header = [name.strip().casefold() for name in next(rows, [])]
        _check_header(header)
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                raise invalid(f"row {len(found) + 1}", f"row {len(found) + 1} has more cells than the header")
            values = {name: _plain(cell) for name, cell in zip(header, cells, strict=False)}
            found.append(_wanted(len(found) + 1, values))
            if len(found) > MOST:
                raise invalid("sheet", f"a sheet has at most {MOST} rows; split it")
    except csv.Error as broken:
        raise invalid("sheet", f"line {rows.line_num} is no CSV: {broken}") from None
    return found


def _wanted(row: int, values: dict[str, str]) -> Wanted:
    written = values.get("details") or "{}"
    try:
        details = json.loads(written)
    except ValueError:
        details = None
    if not isinstance(details, dict):
        raise invalid("details", f'row {row}: details are a JSON object such as {{"class_id": "3"}}')
    return Wanted(
        kind=values["kind"],
        key=values["key"],
        variant=values.get("variant", ""),
        external_id=values.get("quickbooks_id", ""),
        external_name=values.get("quickbooks_name", ""),
        details=details,
    )


def _check_header(header: list[str]) -> None:
    lacking = [name for name in REQUIRED if name not in header]
    if lacking or not {"quickbooks_id", "quickbooks_name"} & set(header):
        raise invalid(
            "sheet",
            f"the first line names the columns: {', '.join(COLUMNS[:5])}; it has {', '.join(header) or 'nothing'}",
        )
    strange = [name for name in header if name not in COLUMNS]
    if strange or len(set(header)) < len(header):
        raise invalid("sheet", f"columns are {', '.join(COLUMNS)}, each once; it has {', '.join(header)}")


def _plain(cell: str) -> str:
    """A cell without the apostrophe that `spreadsheets.safe` put in front of what looks like a formula."""
    bare = cell.removeprefix("'")
    return (bare if spreadsheets.safe(bare) == cell else cell).strip(" ")
