"""The dashboard asks for nothing that the server does not tell."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client")

from bowerbird.serving.metrics import Metrics

DASHBOARD = json.loads(
    (Path(__file__).resolve().parent.parent / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8")
)
_NAME = re.compile(r"\bbowerbird_\w+")
_LABELLED = re.compile(r"(bowerbird_\w+)\{([^}]*)\}")


def queries() -> list[str]:
    """Every query of every panel and variable."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return found + [
        one["query"]["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"
    ]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The names that Prometheus would know, each with its labels."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics: Any = Metrics()
    known: dict[str, set[str]] = {}
    for collector in list(metrics._registry._collector_to_names):
        labels = set(collector._labelnames)
        for name in metrics._registry._collector_to_names[collector]:
            known[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return known


def test_each_query_names_metrics_that_exist(told: dict[str, set[str]]) -> None:
    for query in queries():
        names = _NAME.findall(query)
        assert names, query
        assert set(names) <= told.keys(), query


def test_each_query_asks_by_labels_that_its_metric_has(told: dict[str, set[str]]) -> None:
    for query in queries():
        for name, inside in _LABELLED.findall(query):
            assert set(re.findall(r"(\w+)\s*(?:=~|=|!=|!~)", inside)) <= told[name], query
        grouped = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")}
        known = set().union(*(told[name] for name in _NAME.findall(query)))
        assert grouped <= known, query


def test_panels_have_numbers_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
