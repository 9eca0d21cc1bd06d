"""Why an item differs: the first explanation that fits, and none when nobody knows.

An explanation must fit what QuickBooks has now. A step under way, an exception or a decision is about the object as
it was when it was made: once somebody has changed the object since, it explains nothing any more, and the change
is unexplained until it is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from services.inbound.reconcile import theirs
from services.inbound.reconcile.circumstances import Circumstances, Drifted, Remembered, Step, Trouble
from services.inbound.reconcile.items import Item
from services.inbound.reconcile.natives import Horizon
from services.inbound.reconcile.theirs import There

_UNFINISHED: Final = frozenset({"queued", "running", "waiting", "scheduled"})
_UNCERTAIN: Final = frozenset({"intended", "unknown"})
_LEFT_OUT: Final = frozenset({"before_cutover", "handled", "linked"})
"""Why a step was skipped whose document is in QuickBooks by somebody else's hand."""

SYNC_NOW: Final = "Read what changed in QuickBooks (algasync sync-now), then make the statement again."
LOOK: Final = (
    "Decide which book is right and correct the other, or accept it with a reason: algasync reconcile accept."
)


def explain(item: Item, found: There | None, around: Circumstances, horizon: Horizon, home: str) -> None:
    """Settle an item that differs; one that a person accepted as it is stays accepted."""
    item.digest = item.fingerprint()
    accepted = around.accepted.get((item.key, item.digest))
    if accepted is not None:
        item.settle("accepted", f"accepted by {accepted}")
        return
    steps: list[Step] = around.of(around.steps, item)
    troubles: list[Trouble] = around.of(around.troubles, item)
    if _on_its_way(item, steps) or _drifted(item, found, around, troubles, home):
        return
    if item.billing is None:
        if _as_seen(found, around) and _waiting(item, steps, troubles):
            return
    elif item.target is None:
        if _never_sent(item, steps, troubles, around, horizon):
            return
    elif _as_known(item, found, around, home) and (
        _waiting(item, steps, troubles) or _as_we_left_it(item, found, around)
    ):
        return
    item.settle("unexplained", _said(item, found, horizon), next_step=_next(found, horizon))


def fold(items: Sequence[Item]) -> None:
    """Let what another change brought about follow it: a payment whose document was voided, deleted or shrunk.

    QuickBooks takes money off a document by itself when the document has no room for it any more.
    """
    forms = [one for one in items if one.kind in {"invoice", "credit_note"}]
    changed = {one.target: one for one in forms if one.differences}
    for item in items:
        if item.class_ != "unexplained" or item.kind not in {"payment", "credit_application"}:
            continue
        causes = [changed[target] for target in item.moved if target in changed]
        if causes and item.only_less:
            item.follows = causes[0].key
            item.settle(causes[0].class_, f"QuickBooks took money off because of {causes[0].key}")


def _on_its_way(item: Item, steps: Sequence[Step]) -> bool:
    """A call of ours has been made, or is being made, and its answer is not known yet."""
    for step in steps:
        if step.state == "running" or (step.state in _UNFINISHED and step.outcome in _UNCERTAIN):
            item.settle("timing", f"{step.act} is under way", operation_id=step.operation_id)
            return True
    return False


def _drifted(
    item: Item, found: There | None, around: Circumstances, troubles: Sequence[Trouble], home: str
) -> bool:
    """The very difference was seen before, and is open, ignored or settled by a person."""
    for subject in item.about:
        drift = around.drifts.get(subject)
        if drift is None or not _fits(drift, found, home):
            continue
        if drift.state == "open":
            ignored = next((one for one in troubles if not one.open), None)
            open_ = next((one for one in troubles if one.open), None)
            if open_ is None and ignored is not None:
                item.settle("accepted", f"ignored: {ignored.resolution}", exception_id=ignored.exception_id)
                return True
            if open_ is not None:
                item.settle("open_exceptions", open_.title, exception_id=open_.exception_id)
                return True
        elif (drift.resolution or "").startswith(("accepted", "marked void")):
            item.settle("accepted", str(drift.resolution))
            return True
    return False


def _fits(drift: Drifted, found: There | None, home: str) -> bool:
    if found is None or drift.observed is None:
        return found is None and drift.observed is None
    return _same(found, theirs.parse(found.entity, drift.observed, home))


def _never_sent(
    item: Item, steps: Sequence[Step], troubles: Sequence[Trouble], around: Circumstances, horizon: Horizon
) -> bool:
    """A document that never came to QuickBooks: still waiting, waiting for a person, or left out on purpose."""
    if _waiting(item, steps, troubles):
        return True
    last = next((one for one in steps if one.state in {"skipped", "discarded", "succeeded"}), None)
    code, reason, state = (last.reason_code, last.reason, last.state) if last else (None, None, None)
    if last is None:  # steps are kept for a year and the timeline for seven
        told: Mapping[str, str] = next(
            (around.decided[one] for one in item.about if one in around.decided), {}
        )
        code, reason, state = told.get("code"), told.get("reason"), told.get("action")
    if state == "discarded":
        item.settle("accepted", f"given up: {reason}")
    elif state == "skipped":
        item.settle("outside_scope" if code in _LEFT_OUT else "accepted", str(reason))
    elif (
        item.billing is not None
        and item.billing.date
        and horizon.cutover
        and item.billing.date < horizon.cutover
    ):
        item.settle("outside_scope", f"from before the cutover of {horizon.cutover}, and not linked")
    else:
        return False
    return True


def _waiting(item: Item, steps: Sequence[Step], troubles: Sequence[Trouble]) -> bool:
    """A step that is due, waits for something named, or rests with a person; or an exception without a step."""
    open_ = next((one for one in troubles if one.open), None)
    ignored = next((one for one in troubles if not one.open), None)
    failed = next((one for one in steps if one.state == "failed"), None)
    pending = next((one for one in steps if one.state in _UNFINISHED), None)
    if open_ is not None:
        item.settle(
            "open_exceptions", open_.title, exception_id=open_.exception_id, operation_id=open_.operation_id
        )
    elif ignored is not None and pending is None:
        item.settle("accepted", f"ignored: {ignored.resolution}", exception_id=ignored.exception_id)
    elif failed is not None:
        item.settle(
            "open_exceptions", f"{failed.act} failed: {failed.reason}", operation_id=failed.operation_id
        )
    elif pending is not None:
        said = f"{pending.act} is {pending.state}" + (f": {pending.reason}" if pending.reason else "")
        item.settle("timing", said, operation_id=pending.operation_id)
    else:
        return False
    return True


def _as_known(item: Item, found: There | None, around: Circumstances, home: str) -> bool:
    """Whether nobody has touched the object since we, or the change feed, last looked at it."""
    remembered = around.links.get(item.target or ("", ""), ())
    if found is None:
        return all(one.state not in {"synced", "drift"} for one in remembered)
    if _as_seen(found, around) or found.token in {one.token for one in remembered}:
        return True
    return any(_same(found, theirs.parse(found.entity, one.snapshot, home)) for one in remembered)


def _as_seen(found: There | None, around: Circumstances) -> bool:
    return found is not None and around.tokens.get(found.target) == found.token


def _as_we_left_it(item: Item, found: There | None, around: Circumstances) -> bool:
    """Differences that were there when both sides agreed: linked like that, dated like that, mapped anew since."""
    remembered: Sequence[Remembered] = around.links.get(item.target or ("", ""), ())
    fields = {one.field for one in item.differences}
    by_hand = next((one for one in remembered if one.via != "export"), None)
    if found is None:
        return False
    if by_hand is not None:
        item.settle("accepted", f"linked as it is ({by_hand.via.replace('_', ' ')})")
    elif fields == {"date"}:
        item.settle("accepted", "booked under a date in the open period, as somebody decided")
    elif fields == {"customer"} and any(
        around.mapped_at.get(item.client_id or "", one.created_at) > one.created_at for one in remembered
    ):
        item.settle("accepted", "the client was linked to another customer after this was exported")
    else:
        return False
    return True


def _same(one: There, other: There) -> bool:
    """Whether two copies of an object agree in everything that a statement compares."""
    compared = (
        "number",
        "date",
        "due",
        "customer",
        "currency",
        "amount",
        "tax",
        "void",
        "lines",
        "unreadable",
    )
    return all(getattr(one, name) == getattr(other, name) for name in compared)


def _said(item: Item, found: There | None, horizon: Horizon) -> str:
    if item.billing is None:
        since = _moment(" on {}", found.created_at if found is not None else None)
        return f"entered in QuickBooks{since}, and the PSA was never told"
    if found is None:
        return "it is not in QuickBooks" + (
            " any more, and nobody said so" if item.target is not None else ", and nothing is under way"
        )
    told = "; ".join(
        f"{one.field}: {one.billing or 'nothing'} in the PSA, {one.quickbooks or 'nothing'} in QuickBooks"
        for one in item.differences
    )
    return told + _moment(" (last changed there on {})", found.changed_at)


def _next(found: There | None, horizon: Horizon) -> str:
    unread = found is None or found.changed_at is None or found.changed_at > horizon.seen_until
    return f"{SYNC_NOW} If it stays, {LOOK[0].lower()}{LOOK[1:]}" if unread else LOOK


def _moment(words: str, at: datetime | None) -> str:
    return words.format(f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC") if at is not None else ""
