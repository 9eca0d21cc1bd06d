"""What commands print, and what errors become."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import typer
from alembic.util import CommandError

from deploy.local import NotRunningError
from messages import BadJson, Problem
from services.cli import checkup, console, maintenance, options
from services.cli.console import FAILED, UNREACHABLE, USAGE, Told
from services.cli.errors import in_words
from services.configuration import Configuration
from services.ledger.attempts import CannotChange
from services.refusals import conflict, invalid, missing


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    console.mode.json = False


def test_elsewhere_than_on_a_terminal_rows_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """One row, one line, tabs between cells: whatever a cell holds, scripts can split it."""
    console.table(("ID", "WHAT"), [(1, "a\tb\nc"), (2, None), (3, {"k": [datetime(2026, 1, 2, tzinfo=UTC)]})])
    assert capsys.readouterr().out.splitlines() == [
        "ID\tWHAT",
        "1\ta b c",
        "2\t",
        '3\t{"k": ["2026-01-02T00:00:00+00:00"]}',
    ]


def test_json_is_one_object_with_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    """Ids, instants and nested values come out as JSON has them, names with accents as they are."""
    console.result({"id": UUID(int=7), "at": datetime(2026, 1, 2, tzinfo=UTC), "of": "Café"})
    assert json.loads(capsys.readouterr().out) == {
        "id": "00000000-0000-0000-0000-000000000007",
        "at": "2026-01-02T00:00:00+00:00",
        "of": "Café",
    }


def test_an_error_names_the_field_on_stderr_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """People read it on standard error; with --json standard output holds it as one object too."""
    console.mode.json = True
    console.fail(Told("say why", code="missing_reason", field="--because", exit_code=USAGE))
    printed = capsys.readouterr()
    assert printed.err == "--because: say why\n"
    assert json.loads(printed.out) == {
        "error": {"code": "missing_reason", "field": "--because", "message": "say why"}
    }


@pytest.mark.parametrize(
    ("ago", "shown"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (172_800, "2d"), (-50, "0s")],
)
def test_ages_use_the_largest_unit_that_says_enough(ago: int, shown: str) -> None:
    """42s, 17m, 5h, 12d; a clock that runs ahead never shows a negative age."""
    assert console.age(datetime.now(UTC) - timedelta(seconds=ago)) == shown


@pytest.mark.parametrize(
    ("written", "seconds"), [("30s", 30), ("5m", 300), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)]
)
def test_since_takes_ages(written: str, seconds: int) -> None:
    """`--since 7d` is seven days before now."""
    found = options.instant(written)
    assert found is not None
    assert abs((datetime.now(UTC) - found).total_seconds() - seconds) < 5


def test_since_takes_dates_and_instants_as_utc() -> None:
    """A date without zone is UTC, an instant keeps its own."""
    assert options.instant("2026-03-31") == datetime(2026, 3, 31, tzinfo=UTC)
    found = options.instant("2026-03-31T19:00:00-07:00")
    assert found == datetime(2026, 4, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("written", ["yesterday", "7 days", "2026-13-01", "", "9" * 9 + "d"])
def test_since_refuses_the_rest_by_name(written: str) -> None:
    """What is neither age nor date is a usage error."""
    with pytest.raises(typer.BadParameter, match="no age like"):
        options.instant(written)


@pytest.mark.parametrize(
    ("error", "exit_code", "field"),
    [
        (invalid("external_id", "a QuickBooks id is needed"), USAGE, "external_id"),
        (missing("there is no letter"), USAGE, ""),
        (conflict("exception_resolved", "it is resolved"), FAILED, ""),
        (CannotChange("it is queued"), FAILED, ""),
        (BadJson([Problem("body", "is not JSON")]), USAGE, ""),
        (NotRunningError("no PostgreSQL runs"), UNREACHABLE, ""),
        (
            CommandError("Can't locate revision identified by '9999'"),
            FAILED,
            "",
        ),  # a newer program's database
    ],
)
def test_errors_of_the_rooms_have_exit_codes(error: Exception, exit_code: int, field: str) -> None:
    """Wrong input is 2, a refusal by the state of things 1, a server that cannot be reached 3."""
    told = in_words(error)
    assert told is not None
    assert (told.exit_code, told.field) == (exit_code, field)
    assert str(error) in told.sentence


def test_a_wrong_setting_is_named_as_the_environment_knows_it() -> None:
    """The operator reads BROKER_URL or ALGASYNC_API_PORT, not the name of a field in our code."""
    for values, variable in (
        ({"BROKER_URL": "http://x"}, "BROKER_URL"),
        ({"api_port": 99999}, "ALGASYNC_API_PORT"),
        ({"call_seconds": 90}, "ALGASYNC_LEASE_SECONDS"),  # a call would outlive the default lease
    ):
        with pytest.raises(ValueError, match="validation error") as refused:
            Configuration(**values)
        told = in_words(refused.value)
        assert told is not None
        assert (told.field, told.exit_code) == (variable, USAGE)


def test_a_taken_port_and_an_unusable_file_are_sentences(tmp_path: Path) -> None:
    """A port that another process has, and a folder that cannot be made, are wrong input and no mistake of ours."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use") as refused:
        socket.create_server(taken.getsockname())
    told = in_words(refused.value)
    assert told is not None
    assert (told.code, told.exit_code) == ("port_taken", USAGE)
    with pytest.raises(FileNotFoundError) as refused:
        (tmp_path / "nothing" / "books").touch()
    told = in_words(refused.value)
    assert told is not None
    assert (told.code, told.exit_code) == ("file_unusable", USAGE)
    assert str(tmp_path / "nothing" / "books") in told.sentence


def test_doctor_claims_no_more_than_it_looked_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A doctor that could not look at the broker does not say that the broker is well."""
    monkeypatch.setattr(checkup, "examine", lambda: checkup.Report(not_checked=["RabbitMQ: no node runs"]))
    maintenance.doctor()
    said = capsys.readouterr().out
    assert "not checked: RabbitMQ" in said
    assert "Everything that was checked is as it must be." in said


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    """Only what is foreseen becomes a sentence."""
    assert in_words(KeyError("x")) is None
