"""The runner: mistakes of ours end as exceptions a person sees, never as a loop and never in silence."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from structlog.testing import capture_logs

from services.ledger.runner import Runner
from services.outbound.handlers import HANDLERS
from tests.support.exporting import TENANT, Workbench


class Clumsy:
    """A handler with a mistake in one of its steps; all others are the real ones."""

    def __init__(self, step: str, meanwhile: Callable[[], object]) -> None:
        self._real = HANDLERS["export_invoice"]
        self._step = step
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        if name == self._step:
            self._meanwhile()
            raise ZeroDivisionError(f"a mistake in {name}")
        return getattr(self._real, name)


def clumsy(workbench: Workbench, step: str, meanwhile: Callable[[], object] = lambda: None) -> Runner:
    """A runner whose invoice handler stumbles in `step`, after something else has happened meanwhile."""
    return Runner(
        workbench.fleet,
        {**HANDLERS, "export_invoice": Clumsy(step, meanwhile)},  # type: ignore[dict-item]  # all other steps are real
        workbench.clients,
        workbench.desk,
        lease=timedelta(seconds=20),
        call_within=timedelta(seconds=3),
        replay_within=timedelta(seconds=-1),
    )


def check_told(workbench: Workbench) -> None:
    """Failed, with one open exception that says it is our mistake."""
    (operation,) = workbench.operations()
    assert (operation.state, operation.reason_code) == ("failed", "internal_error")
    with workbench.fleet.transaction(TENANT) as connection:
        codes = connection.execute(text("SELECT code FROM exception WHERE state = 'open'")).scalars().all()
    assert codes == ["internal_error"]


def test_a_mistake_before_the_call_is_told(workbench: Workbench) -> None:
    """Nothing was sent, a person sees it, and nothing runs round in circles."""
    workbench.bill("inv-1")
    assert clumsy(workbench, "prepare").run(workbench.operations()[0].operation_id, 1).reject
    check_told(workbench)
    assert workbench.objects() == []


def test_a_surprise_about_what_was_settled_meanwhile_alarms_nobody(workbench: Workbench) -> None:
    """A later event takes its place while it is prepared, so nothing fits any more: that is no mistake of ours."""
    workbench.bill("inv-1")

    def supersede() -> None:
        with workbench.fleet.transaction(TENANT) as connection:
            connection.execute(
                text(
                    """UPDATE operation SET state = 'skipped', reason_code = 'superseded', reason = 'pointless',
                              finished_at = clock_timestamp()"""
                )
            )

    with capture_logs() as logs:
        verdict = clumsy(workbench, "prepare", supersede).run(workbench.operations()[0].operation_id, 1)
    assert (verdict.reject, verdict.code) == (False, "already_settled")
    assert workbench.exceptions() == []
    assert [one for one in logs if one["log_level"] == "error"] == []


def test_a_mistake_after_the_call_loses_nothing(workbench: Workbench) -> None:
    """The effect stands and the outcome is unknown, so that the next attempt finds the invoice again."""
    workbench.bill("inv-1")
    assert clumsy(workbench, "settle").run(workbench.operations()[0].operation_id, 1).reject
    check_told(workbench)
    assert workbench.operations()[0].outcome == "unknown"
    assert len(workbench.objects()) == 1


def test_a_mistake_while_asking_is_told(workbench: Workbench) -> None:
    """Reading back an old unknown outcome stumbles: told, and still unknown."""
    workbench.bill("inv-1")
    workbench.trouble("cut_after", entity="invoice", times=1)
    workbench.run(workbench.operations()[0])
    workbench.make_due()
    assert clumsy(workbench, "find").run(workbench.operations()[0].operation_id, 1).reject
    check_told(workbench)
    assert workbench.operations()[0].outcome == "unknown"
