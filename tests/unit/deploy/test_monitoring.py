"""Dashboard and alerts ask only for what the processes tell, and every figure is shown somewhere."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from services.cli.exporter import families
from services.cli.figures import Figures
from services.ledger import sweep
from services.psa import gauges

GRAFANA = Path(__file__).resolve().parents[3] / "deploy" / "grafana"
MODULES = (
    "outbox.metrics",
    "services.api.requests",
    "services.connections.webhooks",
    "services.psa.notifier",
    "workers.dispatcher",
    "workers.metrics",
    "workers.scheduler",
)
NOTHING = Figures(
    outbox=dict.fromkeys(("unpublished", "oldest_unpublished", "under_way", "oldest_under_way"), 0.0),
    operations={},
    waits={},
    oldest_due=0,
    sent={},
    done={},
    freshness={},
    exceptions={},
    letters={},
    companies={},
    pauses={},
    token_days=0,
    limiter=dict.fromkeys(("longest", "resting"), 0.0),
    reads=0,
    feed=dict.fromkeys(("overdue", "behind", "incomplete"), 0.0),
    violations={},
)


@pytest.fixture(scope="module")
def told() -> set[str]:
    """Names of all samples that a process of the fleet can expose."""
    assert sweep.REPAIRED
    for module in MODULES:
        importlib.import_module(module)
    looked = (*families(NOTHING), *gauges.families(gauges.Owed()))
    names = {"algasync_database_up"} | {family.name for family in looked}
    for family in REGISTRY.collect():
        if family.type == "counter":
            names.add(f"{family.name}_total")
        elif family.type == "histogram":
            names |= {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
        else:
            names.add(family.name)
    return {name for name in names if name.startswith(("algasync_", "outbox_"))}


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    loaded = json.loads((GRAFANA / "dashboards" / "algasync.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def expressions() -> list[str]:
    """Every query of dashboard and alerts."""
    rules = yaml.safe_load((GRAFANA / "alerts.yml").read_text())["groups"][0]["rules"]
    return [rule["expr"] for rule in rules] + [
        target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())
    ]


def asked(expression: str) -> set[str]:
    """Metrics that a query names."""
    return set(re.findall(r"\b(?:algasync|outbox)_[a-z_]+", expression))


def test_nothing_is_asked_that_nobody_tells(told: set[str]) -> None:
    """A renamed metric must not leave an alert that can never fire."""
    for expression in expressions():
        assert asked(expression), expression
        assert asked(expression) <= told, asked(expression) - told


def test_everything_that_waits_fails_or_ages_is_shown(told: set[str]) -> None:
    """Each figure of the fleet is on the dashboard or in an alert."""
    shown = set().union(*map(asked, expressions()))
    assert {family.name for family in families(NOTHING)} <= shown


def test_alerts_say_what_to_do() -> None:
    """Each alert has a severity and a sentence, and a name of its own."""
    rules = yaml.safe_load((GRAFANA / "alerts.yml").read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith((".", "?"))


def test_panels_do_not_overlap() -> None:
    """Every panel has its own place and at least one query."""
    places = set()
    for panel in dashboard()["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["targets"], panel["title"]
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in places, panel["title"]
                places.add((x, y))
        assert at["x"] + at["w"] <= 24
