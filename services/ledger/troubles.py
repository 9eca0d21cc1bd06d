"""What a person is told when an operation of whatever kind could not be run to its end."""

from __future__ import annotations

from typing import Final

from services.ledger.operations import Operation
from services.ledger.ports import Problem
from services.ledger.record import MAX_TRIES
from services.quickbooks.errors import QuickBooksError

EXPORT_ERROR: Final = "accounting_sync_export_error"
"""The type of the exception when an operation on its way to QuickBooks stopped; `code` says why."""


def gone(operation: Operation) -> Problem:
    """What an operation made was deleted before its answer came."""
    assert operation.call is not None
    what = operation.call["entity"]
    return Problem(
        type=EXPORT_ERROR,
        code="deleted_meanwhile",
        cause=f"deleted:{operation.document_kind}:{operation.document_id}",
        title=f"The {what} of {operation.document_kind} {operation.document_id} was deleted in QuickBooks",
        happened=f"QuickBooks made the {what}, its answer was lost, and before we asked again somebody deleted it.",
        why="Making it again by ourselves would undo what somebody did on purpose.",
        fix="Retry to make it again, or discard this item with a note when it is to stay deleted.",
        details={"operation_id": str(operation.operation_id)},
    )


def internal(operation: Operation, error: Exception) -> Problem:
    """Processing an operation ended with an error that nobody expects."""
    return Problem(
        type=EXPORT_ERROR,
        code="internal_error",
        cause=f"internal:{operation.kind}:{type(error).__name__}",
        title=f"algasync could not process {operation.document_kind} {operation.document_id}",
        happened=f"Processing stopped at an unexpected {type(error).__name__}.",
        why="This is a mistake in algasync or in its set-up, not in the document.",
        fix="Read the log of this operation, mend the cause, then replay it. Nothing is sent twice.",
        details={"operation_id": str(operation.operation_id)},
    )


def worn_out(operation: Operation, error: QuickBooksError) -> Problem:
    """An operation was tried as often as it may be without a person; `error` ended the last try."""
    return Problem(
        type=EXPORT_ERROR,
        code="quickbooks_unavailable",
        cause=f"unavailable:{operation.company_id}",
        title=f"QuickBooks keeps failing for {operation.document_kind} {operation.document_id}",
        happened=f"{MAX_TRIES} tries ended without a usable answer; the last one: {error}",
        why="QuickBooks or the way to it is in trouble, or it cannot digest this document.",
        fix="Check QuickBooks' status page, then retry: the first thing a retry does is find out what happened.",
        details={"operation_id": str(operation.operation_id), "intuit_tid": error.intuit_tid},
    )
