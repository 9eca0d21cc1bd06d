"""The wizard dies half-way, by SIGKILL, and the next one goes on: nothing twice, nothing missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.integration.onboarding.conftest import Wizard
from tests.support.exporting import TENANT

CUSTOMERS, INVOICES = 30, 60


@pytest.mark.parametrize("steps", [(2, 9, 14), (5, 12)])
def test_a_killed_wizard_is_taken_up(wizard: Wizard, database_url: str, steps: tuple[int, ...]) -> None:
    """Killed while reading, accepting and linking, the run ends with every link once, and reads little again."""
    bench = wizard.bench
    ids = wizard.enter(
        "Customer", *({"DisplayName": f"Firm {chr(65 + n % 26)}{n} LLC"} for n in range(CUSTOMERS))
    )
    wizard.enter(
        "Invoice", *(wizard.form(ids[n % CUSTOMERS], f"K-{n}", f"{n + 1}.00") for n in range(INVOICES))
    )
    wizard.hand_over(
        [{"id": f"c{n}", "name": f"Firm {chr(65 + n % 26)}{n}"} for n in range(CUSTOMERS)],
        [wizard.document(f"d{n}", f"K-{n}", (n + 1) * 100, f"c{n % CUSTOMERS}") for n in range(INVOICES)],
    )
    before = bench.reads
    order = {
        "api": bench.sandbox.api,
        "control": bench.sandbox.control,
        "token": bench.clients.token,
        "database": database_url,
        "company": str(bench.company_id),
    }
    for lines in steps:
        _walk(order, lines)
    assert _walk(order, None) == "finished"
    with bench.fleet.transaction(TENANT) as connection:
        linked = connection.execute(text("SELECT document_id, number FROM link ORDER BY link_id")).all()
        noted = connection.execute(
            text("SELECT action, count(*), count(DISTINCT key) FROM onboarding_action GROUP BY 1 ORDER BY 1")
        ).all()
        runs = connection.execute(text("SELECT count(*) FROM onboarding_run")).scalar_one()
        pages = connection.execute(text("SELECT sum(pages) + count(*) FROM onboarding_reading")).scalar_one()
    assert sorted((f"d{number.removeprefix('K-')}") for _, number in linked) == sorted(
        id_ for id_, _ in linked
    )
    assert [tuple(row) for row in noted] == [
        ("linked", INVOICES, INVOICES),
        ("mapped", CUSTOMERS, CUSTOMERS),
    ]
    assert runs == 1
    assert bench.reads - before <= pages + 2 * len(steps)  # a page on its way, and a count, when it died
    assert wizard.writes() == []


def _walk(order: dict[str, str], lines: int | None) -> str:
    """Let a wizard go on, and kill it when it has said so many lines; returns its last line."""
    command = [sys.executable, "-m", "tests.integration.onboarding.walker", json.dumps(order)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as walker:
        assert walker.stderr is not None
        last, said = "", 0
        for line in walker.stderr:
            last, said = line.strip(), said + 1
            if said == lines:
                walker.kill()
        walker.wait(60)
    return last
