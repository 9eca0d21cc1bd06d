"""What goes wrong while a document in the open period is to offset one in the closed period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from services.ledger.links import Link
from services.ledger.ports import Problem
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import totals, words
from services.outbound.dossiers import Dossier


def by_hand(voided: Dossier, stands: Mapping[str, Any], noun: str, dated: date) -> Problem:
    """The document has parts that cannot be turned round line by line."""
    document = voided.document
    amount = f"{stands.get('TotalAmt')} {document.currency or ''}".strip()
    return Problem(
        type=EXPORT_ERROR,
        code="offset_by_hand",
        cause=f"offset:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} is to be offset by hand",
        happened="In QuickBooks it has parts beside items and tax (a discount, a bundle, shipping), so its lines and "
        f"its tax do not make its total of {amount}. Nothing was changed.",
        why="Taking such parts back by a guess would post them to other accounts than they are on.",
        fix=f"Enter {noun} dated {dated} over {amount} in QuickBooks and apply it, then discard this item with a "
        "note; or open the books in QuickBooks and retry.",
        **words.facts(document),
    )


def used_elsewhere(voided: Dossier, made: Dossier, open_: Decimal, said: str) -> Problem:
    """QuickBooks, or somebody, used the offsetting document for something else, or it is gone."""
    document = voided.document
    assert made.link is not None
    return Problem(
        type=EXPORT_ERROR,
        code="offset_used_elsewhere",
        cause=f"offset:{document.kind}:{document.document_id}",
        title=f"What voids {words.label(document)} is used otherwise in QuickBooks",
        happened=f"{made.link.external_type} {made.link.number} (id {made.link.external_id}) was made to offset it, "
        f"and has nothing left, while {open_} of it are open. QuickBooks answered: {said}",
        why="QuickBooks applies open credits by itself unless that is switched off (Account and settings, Advanced, "
        "Automation), and nothing is applied twice.",
        fix="Take it off where it is in QuickBooks, then retry. Or leave it there: what the customer owes is the same; "
        "then discard this item with a note.",
        **words.facts(document),
    )


def differs(voided: Dossier, made: Link, total: Decimal) -> Problem:
    """Both are to come to nothing, and QuickBooks computed one of them anew."""
    document = voided.document
    return Problem(
        type=totals.DRIFT,
        code="offset_differs",
        cause=f"offset_differs:{document.kind}:{document.document_id}",
        title=f"What voids {words.label(document)} has another total",
        happened=f"It stands over {total} {document.currency or ''} in QuickBooks, and {made.external_type} "
        f"{made.number} that offsets it came to {made.total}.",
        why="It was sent with the same lines and the same tax; QuickBooks computes sales tax by its own rates.",
        fix=f"Correct the tax of {made.external_type} {made.number} in QuickBooks, or accept the difference.",
        details={"total": str(total), "quickbooks": str(made.total), "quickbooks_id": made.external_id},
        **words.facts(document),
    )


def untied(said: Problem, made: Link) -> Problem:
    """A refusal after the offsetting document was made."""
    return replace(
        said,
        happened=f"{said.happened} {made.external_type} {made.number} (id {made.external_id}) stands in QuickBooks to "
        "offset it, and is not applied to it.",
    )
