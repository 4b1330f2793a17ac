"""Feedback: read as it was written, counted once a caller and answer, exported so that our sources read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Ran

from bowerbird.base.errors import DataError, Refused
from bowerbird.data.item import Item
from bowerbird.data.markers import turns
from bowerbird.data.sources.gather import gather
from bowerbird.data.sources.source import GatherConfig
from bowerbird.monitoring.feedback import agreement, export, read


def line(**fields: Any) -> str:
    row = {
        "id": "fb-1",
        "time": 1.5,
        "origin": "cmpl-1",
        "owner": "k1",
        "model": "poems@live",
        "digest": "sha256:a",
        "prompt": "The sea",
        "text": " was grey",
        "rating": 1.0,
        "comment": None,
        "correction": None,
    }
    return json.dumps({**row, **fields}) + "\n"


def wrote(folder: Path, name: str, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def test_what_the_server_wrote_is_read(tmp_path: Path) -> None:
    from bowerbird.serving.feedback import Feedback, FeedbackBody

    server = Feedback(tmp_path)
    body = FeedbackBody(model="a/b", text="x", prompt="p", rating="down", correction="y")
    server.write(server.record(body, "k1", "sha256:a"))
    [verdict] = read(tmp_path, "a/b")
    assert (verdict.model, verdict.owner, verdict.rating, verdict.correction) == ("a/b", "k1", -1.0, "y")
    assert (verdict.prompt, verdict.text, verdict.digest, verdict.answer) == ("p", "x", "sha256:a", None)


def test_a_name_means_all_its_references(tmp_path: Path) -> None:
    wrote(tmp_path, "poems", line(id="1", model="poems"))
    wrote(tmp_path, "poems@live", line(id="2"))
    wrote(tmp_path, "poems2", line(id="3", model="poems2"))
    assert [verdict.id for verdict in read(tmp_path, "poems")] == ["1", "2"]
    assert [verdict.id for verdict in read(tmp_path, "poems@live")] == ["2"]
    assert len(list(read(tmp_path))) == 3
    assert list(read(tmp_path / "none")) == []


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    wrote(tmp_path, "poems", line(id="1"), "{\n", '"text"\n', "[]\n", line(id="2"), line(id="3")[:40])
    assert [verdict.id for verdict in read(tmp_path)] == ["1", "2"]


def test_the_last_word_of_a_caller_counts(tmp_path: Path) -> None:
    lines = [
        line(id="1", rating=1.0),
        line(id="2", rating=-1.0),
        line(id="3", owner="k2"),
        line(id="4", origin="cmpl-2", rating=None, comment="hm"),
        line(id="5", origin=None),
        line(id="6", origin=None),
        line(id="7", digest="sha256:other"),
    ]
    wrote(tmp_path, "poems", *lines)
    [first, second] = agreement(read(tmp_path), {"sha256:a": "poems@1", "sha256:b": "poems@2"})
    assert (first.version, first.up, first.down) == ("poems@1", 3, 1)
    assert first.share == 0.75
    assert first.interval is not None
    assert 0.3 < first.interval[0] < 0.75 < first.interval[1] < 1
    assert (second.share, second.interval) == (None, None)


def test_an_export_is_read_by_our_sources_and_keeps_its_origin(tmp_path: Path) -> None:
    lines = [
        line(id="1"),
        line(id="2", origin="cmpl-2", rating=-1.0, correction=" is blue"),
        line(id="3", origin="cmpl-3", rating=-1.0),
        line(id="4", origin="cmpl-4", rating=None, comment="no"),
    ]
    wrote(tmp_path / "feedback", "poems", *lines)
    counts = export(read(tmp_path / "feedback"), tmp_path / "out")
    assert counts == {"person": 1, "model": 1}
    items = [found for found in gather([str(tmp_path / "out")], GatherConfig()) if isinstance(found, Item)]
    assert [item.content for item in items] == ["The sea was grey", "The sea is blue"]
    rows = [json.loads(row) for row in (tmp_path / "out" / "feedback.jsonl").read_text().splitlines()]
    assert [row["origin"] for row in rows] == ["model", "person"]
    assert rows[1]["answer"] == "cmpl-2"
    assert rows[1]["owner"] == "k1"


def test_an_export_of_chats_is_turns(tmp_path: Path) -> None:
    wrote(tmp_path / "feedback", "poems", line(prompt="Hello \ufdd3", text="Good day"))
    export(read(tmp_path / "feedback"), tmp_path / "out", chat=True)
    [item] = [found for found in gather([str(tmp_path / "out")], GatherConfig()) if isinstance(found, Item)]
    assert turns(item.content) == [("user", "Hello "), ("assistant", "Good day")]


def test_nothing_approved_is_said_and_nothing_is_overwritten(tmp_path: Path) -> None:
    wrote(tmp_path / "feedback", "poems", line(rating=-1.0))
    with pytest.raises(DataError):
        export(read(tmp_path / "feedback"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    wrote(tmp_path / "taken", "x", "")
    wrote(tmp_path / "feedback", "poems", line())
    with pytest.raises(Refused):
        export(read(tmp_path / "feedback"), tmp_path / "taken")


def test_the_commands(tmp_path: Path, workspace: Path, bowerbird: Callable[..., Ran]) -> None:
    assert bowerbird("feedback", "list", "poems").code == 4
    wrote(workspace / "feedback", "poems@live", line(), line(id="2", origin="cmpl-2", rating=-1.0))
    told = json.loads(bowerbird("feedback", "list", "poems", "--json").out)
    assert told["total"] == 2
    assert told["agreement"][0]["share"] == 0.5
    assert "The sea" in bowerbird("feedback", "list", "poems").out
    ran = bowerbird("feedback", "export", "poems", "--out", tmp_path / "out", "--json")
    assert json.loads(ran.out)["rows"] == {"person": 0, "model": 1}
