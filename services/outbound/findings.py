"""What is wrong with a document before it is sent: every finding names the line and the field, and the fix.

All findings of a document are collected before anything is reported, so that a person mends them in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.ledger.ports import Problem
from services.ledger.troubles import EXPORT_ERROR


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that keeps a document from being exported.

    `where` is the line and field as a person counts them (`line 2, service`); `cause` groups what one fix mends.
    """

    code: str
    where: str
    what: str
    fix: str
    cause: str


def missing_mapping(
    company_id: UUID, kind: str, key: str, code: str, where: str, what: str, variant: str = ""
) -> Finding:
    """A mapping that is not set; setting it, in the `variant` that is wanted, mends everything with the same cause."""
    command = f"algasync mappings set {kind} {key or 'default'} <QuickBooks id>"
    return Finding(
        code,
        where,
        what,
        f"Map it to its counterpart in QuickBooks: {command}{f' --variant {variant}' if variant else ''}",
        f"mapping:{kind}:{company_id}:{key}",
    )


def problem(
    findings: Sequence[Finding],
    *,
    title: str,
    client_id: str | None = None,
    amount: int | None = None,
    currency: str | None = None,
) -> Problem:
    """Put the findings of one document into one problem; the first one is its cause."""
    first, more = findings[0], findings[1:]
    return Problem(
        type=EXPORT_ERROR,
        code=first.code,
        cause=first.cause,
        title=title,
        happened="; ".join(f"{finding.where}: {finding.what}" for finding in findings),
        why="QuickBooks would refuse the document, or book it wrongly, so it was not sent.",
        fix="; ".join(dict.fromkeys(finding.fix.rstrip(".") for finding in findings)) if more else first.fix,
        details={
            "findings": [
                {"code": f.code, "where": f.where, "what": f.what, "fix": f.fix, "cause": f.cause}
                for f in findings
            ]
        },
        client_id=client_id,
        amount=amount,
        currency=currency,
    )
