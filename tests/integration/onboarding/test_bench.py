"""`algasync bench onboarding` on a small book: the keys others read, and the bars that do not depend on the machine."""

from __future__ import annotations

import json

from tests.support.command import RunCli


def test_a_small_book_is_matched_without_a_wrong_link(run_cli: RunCli, database_url: str) -> None:
    """Nothing wrong is linked, reads stay within full pages and twelve, and what is left over is what differs."""
    sizes = ("--invoices", "200", "--payments", "100", "--customers", "60", "--seed", "7")
    done = run_cli("bench", "onboarding", *sizes, "--json", env={"DATABASE_URL": database_url}, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["wrong_exact_matches"], report["wrong_links"]) == (0, 0)
    assert report["metered_reads"] <= report["full_pages"] + 12
    assert 0 < report["own_seconds"] <= report["seconds"]
    assert report["exact_matches"] + report["confirmed_matches"] >= 50
    assert report["linked_documents"] >= 170
    assert report["payments_brought_over"] > 0
    assert report["history"]["linked"] == report["linked_documents"]
