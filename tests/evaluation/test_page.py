"""The page of a report: safe, self-contained, whole with and without plots."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from bowerbird.evaluation.page import html
from bowerbird.evaluation.report import Passage, Report, Score, per_unit

HOSTILE = '</div><script>alert(1)</script> & "quotes" \udcff'
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Balance(HTMLParser):
    """Every tag opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def report(hostile: str = HOSTILE, value: float | None = 2.0) -> Report:
    scores = [
        Score("bits_per_byte", value, "bits/byte", "lower", 100, (1.9, 2.1) if value else None, hostile),
        Score("novelty", 0.97, "share", "higher", 1000, (0.9, 1.0), "note", 1.0),
        Score("longest_copy", 60.0, "characters", "lower", 1000, note="note", reference=31.0),
        Score("mine", float("nan"), "x", "lower", 0, (float("nan"), 1.0)),
    ]
    baselines = [
        Score("ngram_bits_per_byte", 2.2, "bits/byte", "lower", 100, (2.1, 2.3)),
        Score("xz_bits_per_byte", 2.5, "bits/byte", "lower", 100),
    ]
    samples = [hostile + "copied words" + hostile, *(f"sample {number}" for number in range(6))]
    passages = [Passage(0, len(hostile), "copied words", hostile, hostile)]
    row = {"name": "bits_per_byte", "unit": "bits/byte", "better": "lower", "a": 2.0, "b": 2.1, "value": -0.1}
    comparison = [row | {"interval": [-0.2, -0.05], "a_better": 1.0, "verdict": hostile, "n": 100}]
    units = per_unit(np.linspace(150, 300, 60), np.full(60, 100))
    return Report(
        hostile,
        "sha256:ab",
        "text",
        "test",
        scores,
        baselines,
        samples,
        passages,
        comparison,
        hostile,
        units,
        "2025-01-01T00:00:00Z",
        "bowerbird",
        {"dataset": hostile, "splits": {"train": {"documents": 12345, hostile: 1}, "test": 2}},
    )


def test_the_page_is_well_formed_and_runs_and_fetches_nothing() -> None:
    page = html(report())
    page.encode("utf-8")
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert not parser.seen & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not {name for name in parser.attributes if name.startswith("on")} | (
        parser.attributes & {"src", "href", "srcset", "action"}
    )
    assert not re.search(r"https?:|//|@import|url\((?!#)", page)


def test_text_from_outside_is_escaped_wherever_it_stands() -> None:
    page = html(report())
    assert "<script" not in page
    assert page.count("&lt;/div&gt;&lt;script&gt;alert(1)") >= 8


def test_the_page_shows_plots_scores_and_copies() -> None:
    page = html(report("plain"))
    assert page.count("<svg") == 2
    for words in (
        "2.000",
        "1.900 to 2.100",
        "97.0 %",
        "60",
        "<mark>copied words</mark>",
        "9.1%",
        "A is this model",
    ):
        assert words in page


def test_without_matplotlib_the_page_has_its_tables_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    page = html(report("plain"))
    assert "<svg" not in page
    assert "bowerbird[eval]" in page
    assert "1.900 to 2.100" in page


def test_equal_reports_give_equal_pages() -> None:
    assert html(report()) == html(report())


@pytest.mark.parametrize("value", [None, 0.0, float("inf")])
def test_a_report_with_little_in_it_still_has_a_page(value: float | None) -> None:
    html(report(value=value))
    html(Report("m", "sha256:ab", "text", "valid", [Score("bits_per_byte", value, "bits/byte", "lower", 0)]))
    html(Report("m", "sha256:ab", "text", "valid", []))


def test_the_json_holds_no_number_that_json_does_not_know() -> None:
    value = report().to_json()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["scores"][3]["value"] is None
    assert value["scores"][3]["interval"] is None
    assert value["scores"][0]["interval"] == [1.9, 2.1]
    assert set(value["scores"][0]) == {
        "name",
        "value",
        "unit",
        "better",
        "n",
        "interval",
        "reference",
        "note",
    }
    assert value["comparison"][0]["value"] == -0.1
    assert "comparison" not in Report("m", "d", "text", "test", []).to_json()
