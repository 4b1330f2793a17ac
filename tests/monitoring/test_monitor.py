"""`monitor`: steady traffic stays steady, a switch is seen, dated and shown, and what cannot be told is said."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TINY, Ran
from tests.untrained_bundles import image_model, melody_model, text_model

pytest.importorskip("scipy")
pytest.importorskip("sqlalchemy")

from bowerbird import lifecycle
from bowerbird.base.errors import CorruptFile, DataError
from bowerbird.evaluation.reference import Reference, measured, write_reference
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.monitor import MonitorConfig, monitor
from bowerbird.monitoring.page import html
from bowerbird.monitoring.report import MonitorReport
from bowerbird.monitoring.store import FILE, EventStore
from bowerbird.store.beside import reference_of
from bowerbird.workspace import Workspace

WORDS = "the sea the stone and the lark was under the rain by the lamp of the door in the field of salt"
GERMAN = "der Wind und das Meer sind nicht mehr so grau wie die Steine auf dem Feld es war ein Licht"
SMALL = MonitorConfig(window=60, baseline=60)


def sentence(rng: random.Random, words: str = WORDS) -> str:
    return " ".join(rng.choice(words.split()) for _ in range(rng.randint(4, 12))) + "."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose held-out part has enough to compare with, evaluated."""
    root = tmp_path_factory.mktemp("monitored")
    rng = random.Random(1)
    (root / "texts").mkdir()
    for number in range(300):
        (root / "texts" / f"{number:03}.txt").write_text(sentence(rng) + f"\n{number}\n")
    settings = ["split.test=0.5", "split.valid=0.1", "clean.near_duplicates=false"]
    space = Workspace(root / "workspace")
    data = lifecycle.prepare(root / "texts", root / "data", settings=settings, workspace=space)
    lifecycle.train(data, root / "run", steps=60, settings=TINY)
    lifecycle.evaluate(root / "run", settings=["samples=4", "length=100"], workspace=space)
    return root / "run"


@pytest.fixture
def space(run: Path, workspace: Path) -> Workspace:
    found = Workspace(workspace)
    lifecycle.publish(run, "poems", alias="live", workspace=found)
    return found


@pytest.fixture
def store(space: Workspace) -> EventStore:
    return EventStore(space.root / FILE)


def asked(digest: str, prompts: Sequence[str], *, first: int = 0, **fields: Any) -> list[Event]:
    return [
        Event(
            id=f"cmpl-{number}",
            time=1_700_000_000.0 + 60 * number,
            model="poems@live",
            digest=digest,
            kind="text",
            path="/v1/completions",
            prompt=prompt,
            **{"completion_tokens": 20, "prompt_tokens": 5, **fields},
        )
        for number, prompt in enumerate(prompts, first)
    ]


def digest_of(space: Workspace) -> str:
    published = space.resolve("poems").published
    assert published is not None
    return published.digest


def look(store: EventStore, space: Workspace, config: MonitorConfig = SMALL, **how: Any) -> MonitorReport:
    return monitor("poems", store=store, workspace=space, config=config, **how)


def english(count: int, seed: int = 2) -> list[str]:
    rng = random.Random(seed)
    return [sentence(rng) for _ in range(count)]


def german(count: int, seed: int = 3) -> list[str]:
    rng = random.Random(seed)
    return [sentence(rng, GERMAN) for _ in range(count)]


def test_steady_traffic_is_steady(store: EventStore, space: Workspace) -> None:
    store.add(asked(digest_of(space), english(300)))
    report = look(store, space)
    assert report.verdict == "steady"
    assert report.changes == ()
    assert len(report.windows) == 5
    assert {"prompts.surprise", "prompts.language"} <= {*report.windows[0].tests, "prompts.language"}
    assert report.traffic.requests == 300
    assert report.traffic.versions == {"poems@1": 300}
    assert any("callers are not known" in note for note in report.notes)


def test_a_switch_is_seen_dated_and_shown(store: EventStore, space: Workspace) -> None:
    digest = digest_of(space)
    store.add(asked(digest, english(200), session="a"))
    mail = [f"{text} schreib an me@example.org" for text in german(130)]
    store.add(asked(digest, mail, first=200, session="a"))
    report = look(store, space)
    assert report.verdict == "moved"
    told = {change.statistic: change for change in report.changes}
    assert {"prompts.surprise", "prompts.language"} <= told.keys()
    change = told["prompts.language"]
    assert abs(change.since_number - 201) <= 15
    assert change.ongoing
    assert not change.from_start
    assert change.name == "German"
    assert (change.before, change.after) == (0.0, pytest.approx(1.0, abs=0.15))
    assert change.p < 0.05
    assert change.top_caller == 1.0
    assert "more prompts are in German: from 0.0 % to" in change.words
    assert len(change.examples) == 3
    assert all("<email>" in text and "example.org" not in text for text in change.examples)
    low, high = told["prompts.surprise"].interval
    assert 0 < low < told["prompts.surprise"].effect < high
    json.dumps(report.to_json(), allow_nan=False)


def test_what_came_and_went_is_told_as_past(store: EventStore, space: Workspace) -> None:
    digest = digest_of(space)
    store.add(asked(digest, [*english(120), *german(60), *english(180, 4)]))
    report = look(store, space)
    assert report.verdict == "steady"
    assert report.changes
    assert all(change.until is not None for change in report.changes)
    assert "came and went" in report.words


def test_a_change_from_the_first_request_is_told_so(store: EventStore, space: Workspace) -> None:
    store.add(asked(digest_of(space), german(120)))
    report = look(store, space)
    assert report.verdict == "moved"
    assert all(change.from_start for change in report.changes if change.statistic == "prompts.language")


def test_too_little_is_said(store: EventStore, space: Workspace) -> None:
    assert look(store, space).verdict == "too little data"
    store.add(asked(digest_of(space), english(59)))
    report = look(store, space)
    assert report.verdict == "too little data"
    assert any("59 requests are fewer than a window of 60" in note for note in report.notes)


def test_lengths_and_failures_are_compared_with_the_first_traffic(
    store: EventStore, space: Workspace
) -> None:
    digest = digest_of(space)
    store.add(asked(digest, english(120)))
    failing = asked(digest, english(60, 5), first=120, completion_tokens=400)
    failing = [
        replace(event, code="out_of_memory", status=500) if at % 2 else event
        for at, event in enumerate(failing)
    ]
    store.add(failing)
    report = look(store, space)
    told = {change.statistic: change for change in report.changes}
    assert {"traffic.failures", "traffic.output_length"} <= told.keys()
    assert told["traffic.failures"].words.startswith("more requests have failed: from 0.0 % to ")
    assert told["traffic.failures"].after == pytest.approx(0.5, abs=0.1)
    assert told["traffic.failures"].against == "the first traffic"
    assert report.traffic.failed == 30
    assert report.traffic.codes == {"out_of_memory": 30}
    assert not any(name.startswith("traffic") for name in report.windows[0].tests), (
        "no window is its own norm"
    )


def test_without_words_only_counts_are_compared(store: EventStore, space: Workspace) -> None:
    store.add([replace(event, prompt=None) for event in asked(digest_of(space), english(180))])
    report = look(store, space)
    assert report.verdict == "steady"
    assert {name for window in report.windows for name in window.tests} <= {"traffic.output_length"}
    assert any("no words are recorded" in note for note in report.notes)


def test_copies_for_a_shadow_are_left_out(store: EventStore, space: Workspace) -> None:
    store.add(asked(digest_of(space), german(120), arm="shadow"))
    assert look(store, space).traffic.requests == 0


def test_without_a_reference_traffic_is_compared_with_its_own_beginning(
    store: EventStore, space: Workspace
) -> None:
    reference_of(space.resolve("poems").path).unlink()
    digest = digest_of(space)
    store.add(asked(digest, [*english(120), *german(60)]))
    report = look(store, space)
    assert report.verdict == "moved"
    assert {change.against for change in report.changes} == {"the first traffic"}
    assert any("no reference statistics" in note for note in report.notes)


def test_one_can_ask_for_the_first_traffic(store: EventStore, space: Workspace) -> None:
    store.add(asked(digest_of(space), german(240)))
    config = SMALL.model_copy(update={"against": "traffic"})
    assert look(store, space, config).verdict == "steady", "it has been so from the beginning"


def test_a_damaged_reference_is_refused(store: EventStore, space: Workspace) -> None:
    path = reference_of(space.resolve("poems").path)
    path.write_text(path.read_text().replace("test", "tess"))
    with pytest.raises(CorruptFile):
        look(store, space)


def test_an_earlier_look_saves_work_and_changes_nothing(store: EventStore, space: Workspace) -> None:
    digest = digest_of(space)
    seen: dict[int, Any] = {}
    store.add(asked(digest, english(130)))
    first = look(store, space, seen=seen)
    assert len(seen) == 130
    store.add(asked(digest, english(60, 9), first=130))
    again = look(store, space, seen=seen)
    assert again.windows[:2] == first.windows
    assert replace(again, created=0) == replace(look(store, space), created=0)


def test_windows_are_cut_at_the_same_places_when_old_requests_leave_the_view(
    store: EventStore, space: Workspace
) -> None:
    config = MonitorConfig(window=60, baseline=60, most_events=150)
    store.add(asked(digest_of(space), english(300)))
    assert [window.first for window in look(store, space, config).windows] == [181, 241]


def test_feedback_stands_beside(store: EventStore, space: Workspace) -> None:
    from tests.monitoring.test_feedback import line, wrote

    digest = digest_of(space)
    wrote(
        space.root / "feedback",
        "poems@live",
        line(digest=digest),
        line(id="2", origin="b", rating=-1, digest=digest),
    )
    [found] = look(store, space).agreement
    assert (found.version, found.up, found.down) == ("poems@1", 1, 1)


def test_the_page_is_whole_harmless_and_fetches_nothing(store: EventStore, space: Workspace) -> None:
    digest = digest_of(space)
    store.add(asked(digest, [*english(120), *[f"<script>alert(1)</script> {text}" for text in german(60)]]))
    page = html(look(store, space))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<svg" in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert html(look(store, space, SMALL)).startswith("<!doctype html>")


def test_pictures_are_watched_by_the_classes_asked_for(workspace: Path, tmp_path: Path) -> None:
    bundle = image_model(tmp_path / "faces")
    model = lifecycle.load(bundle)
    names = ("disc", "square")
    asked_for = measured(200, range(200), lambda item, length: {"class": names[item % 2]}, ladder=(1,))
    write_reference(Reference(model.digest, "image", "sha256:d", "test", prompts=asked_for), bundle)
    store = EventStore(workspace / FILE)
    labels = ["disc", "square"] * 60 + ["disc"] * 60
    events = [
        replace(event, kind="image", prompt=None, model="faces", settings={"label": label})
        for event, label in zip(asked(model.digest, [""] * 180), labels, strict=True)
    ]
    store.add(events)
    report = monitor(str(bundle), store=store, workspace=Workspace(workspace), config=SMALL)
    [change] = report.changes
    assert change.words == "disc is asked for more: from 50.0 % to 100.0 %"
    assert change.examples == ()


def test_melodies_are_watched_by_their_openings(workspace: Path, tmp_path: Path) -> None:
    bundle = melody_model(tmp_path / "tunes")
    model = lifecycle.load(bundle)
    store = EventStore(workspace / FILE)
    rng = random.Random(1)
    near = [" ".join(rng.choice(["C4", "D4", "E4"]) for _ in range(8)) for _ in range(120)]
    far = [" ".join(rng.choice(["C4", "B4", "F5"]) for _ in range(8)) for _ in range(60)]
    made = [replace(event, kind="melody") for event in asked(model.digest, [*near, "no tune at all", *far])]
    store.add(made)
    report = monitor(str(bundle), store=store, workspace=Workspace(workspace), config=SMALL)
    told = {change.statistic: change for change in report.changes}
    assert "prompts.step" in told
    assert told["prompts.step"].unit == "semitones"
    assert "openings move in wider steps" in told["prompts.step"].words


def test_the_command_watches_alerts_and_writes_a_page(
    store: EventStore, space: Workspace, tmp_path: Path, bowerbird: Callable[..., Ran]
) -> None:
    digest = digest_of(space)
    store.add(asked(digest, [*english(120), *german(60)]))
    alert, page = tmp_path / "alerts.jsonl", tmp_path / "page.html"
    ran = bowerbird(
        "monitor", "poems", "--window", 60, "--json", "--html", page, "--alert-file", alert,
        "--alert-command", "false",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["verdict"] == "moved"
    assert "was not told" in ran.err
    [line] = alert.read_text().splitlines()
    sent = json.loads(line)
    assert sent["verdict"] == "moved"
    assert "examples" not in sent["changes"][0]
    assert page.read_text().startswith("<!doctype html>")
    shown = bowerbird("monitor", "poems@live", "--window", 60)
    assert "more prompts are in German" in shown.out
    assert "level: 0.05" in shown.out


def test_the_command_reads_events_from_a_file(
    store: EventStore, space: Workspace, tmp_path: Path, bowerbird: Callable[..., Ran]
) -> None:
    store.add(asked(digest_of(space), english(120)))
    assert bowerbird("events", "export", "--out", tmp_path / "events.jsonl").code == 0
    for place in (tmp_path / "events.jsonl", space.root / FILE):
        ran = bowerbird("monitor", place, "--window", 60, "--json")
        assert ran.code == 0, ran.err
        told = json.loads(ran.out)
        assert (told["verdict"], told["traffic"]["requests"]) == ("steady", 120)


def test_wrong_input_is_told(store: EventStore, tmp_path: Path, bowerbird: Callable[..., Ran]) -> None:
    (tmp_path / "events.jsonl").write_text('{"id": 3}\n')
    assert bowerbird("monitor", tmp_path / "events.jsonl").code == 3
    (tmp_path / "empty.jsonl").write_text("")
    ran = bowerbird("monitor", tmp_path / "empty.jsonl")
    assert (ran.code, "there are no requests" in ran.err) == (DataError.exit_code, True)
    assert bowerbird("monitor", "nothing").code == 4
    for wrong in (["--window", 3], ["--watch", 0], ["--set", "alpa=1"], ["--since", "soon"]):
        assert bowerbird("monitor", "poems", *wrong).code == 2
    assert bowerbird("monitor", "poems", "--alert-webhook", "ftp://x").code == 2
    assert bowerbird("monitor", "poems", "--alert-command", "'").code == 2


def test_a_workspace_without_events_says_so(space: Workspace, bowerbird: Callable[..., Ran]) -> None:
    ran = bowerbird("monitor", "poems")
    assert ran.code == 4
    assert "serve" in ran.err or "events" in ran.err


def test_text_models_without_training_are_looked_at_too(workspace: Path, tmp_path: Path) -> None:
    bundle = text_model(tmp_path / "poems")
    model = lifecycle.load(bundle)
    store = EventStore(workspace / FILE)
    store.add(asked(model.digest, english(180)))
    report = monitor(str(bundle), store=store, workspace=Workspace(workspace), config=SMALL)
    assert report.verdict == "steady"
