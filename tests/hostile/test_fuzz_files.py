"""Damaged files of every kind: each reader opens or refuses them, and does nothing else."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bowerbird.base.errors import CorruptFile
from fuzz_bench import cases
from fuzz_bench.cases import GOOD, Watch, counts, judge
from fuzz_bench.readers import OURS, Target, targets

CASES = 200
SEED = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Target], Sequence[Path]]:
    """The sound files of a reader, made once."""
    kept: dict[str, Sequence[Path]] = {}

    def make(target: Target) -> Sequence[Path]:
        if target.name not in kept:
            kept[target.name] = target.make(tmp_path_factory.mktemp(target.name))
        return kept[target.name]

    return make


@pytest.mark.parametrize("target", OURS, ids=lambda target: target.name)
def test_what_is_sound_is_opened(target: Target, made: Callable[..., Sequence[Path]], tmp_path: Path) -> None:
    for path in made(target):
        copy = shutil.copytree(path, tmp_path / path.name)
        target.read(copy, tmp_path / "out")
        target.mend(copy)
        target.read(copy, tmp_path / "out")


@pytest.mark.parametrize("target", targets().values(), ids=targets())
def test_what_is_damaged_is_opened_or_refused_and_nothing_else(
    target: Target, made: Callable[..., Sequence[Path]], tmp_path: Path
) -> None:
    sound = made(target)
    found = [judge(target, sound, tmp_path, SEED, case) for case in range(CASES)]
    bad = [one for one in found if one.outcome not in GOOD]
    assert not bad, "\n".join(
        f"--seed {SEED} --case {one.case}: {one.told}\n  {one.damage}" for one in bad[:5]
    )
    # What comes from elsewhere has no digest: many a flipped weight is a weight.
    least = CASES // 2 if target.name in {one.name for one in OURS} else CASES // 10
    assert counts(found)["refused"] > least, "hardly anything was damaged"


# What the cases above would be told by.


def toy(read: Callable[[Path, Path], object]) -> Target:
    return Target("toy", lambda folder: [], read)


@pytest.fixture
def thing(tmp_path: Path) -> list[Path]:
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound" / "thing.json").write_text('{"format": 1, "words": ["one", "two"]}')
    return [tmp_path / "sound"]


def outcome(
    read: Callable[[Path, Path], object], thing: list[Path], place: Path, watch: Watch | None = None
) -> str:
    return judge(toy(read), thing, place / "place", SEED, 1, watch or cases.NOBODY).outcome


def test_every_way_to_fail_is_seen(
    thing: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, out: Path) -> None:
        raise CorruptFile("no")

    def crash(path: Path, out: Path) -> None:
        raise KeyError("digest")

    def hang(path: Path, out: Path) -> None:
        time.sleep(30)

    def leave(path: Path, out: Path) -> None:
        out.write_text("half")
        raise CorruptFile("no")

    monkeypatch.setattr(cases, "SECONDS", 1)
    assert outcome(lambda path, out: None, thing, tmp_path) == "opened"
    assert outcome(lambda path, out: out.write_text("whole"), thing, tmp_path) == "opened"
    assert outcome(refuse, thing, tmp_path) == "refused"
    assert outcome(crash, thing, tmp_path) == "CRASHED"
    assert outcome(hang, thing, tmp_path) == "HUNG"
    assert outcome(leave, thing, tmp_path) == "WROTE OUTSIDE"
    assert outcome(lambda path, out: (path / "new").write_text("x"), thing, tmp_path) == "WROTE OUTSIDE"
    assert (
        outcome(lambda path, out: (out.parent.parent / "secret").unlink(), thing, tmp_path) == "WROTE OUTSIDE"
    )


def test_the_watch_notes_programs_and_files_outside(tmp_path: Path) -> None:
    watch = Watch()
    note = watch._note
    note("os.system", (b"true",))
    assert not watch.ran, "nobody reads anything"
    watch.allowed = (tmp_path / "out",)
    note("open", (str(tmp_path / "out" / "a"), "w", os.O_WRONLY | os.O_CREAT))
    note("open", (str(tmp_path / "b"), "r", os.O_RDONLY))
    note("os.rename", (str(tmp_path / "out" / "a"), str(tmp_path / "out" / "b"), -1, -1))
    assert not watch.wrote
    note("open", (str(tmp_path / "b"), "w", os.O_WRONLY | os.O_CREAT))
    note("os.rename", (str(tmp_path / "out" / "a"), str(tmp_path / "b"), -1, -1))
    note("os.mkdir", (tmp_path / "c", 0o777, -1))
    note("os.symlink", (str(tmp_path / "out"), str(tmp_path / "d"), -1))
    assert len(watch.wrote) == 4
    note("subprocess.Popen", ("true", ["true"], None, None))
    note("os.system", (b"true",))
    assert len(watch.ran) == 2
    ours = cases._HDF5_READER
    note("subprocess.Popen", (sys.executable, ours, None, {}))
    assert len(watch.ran) == 2
    note("subprocess.Popen", (sys.executable, [*ours, "more"], None, {}))
    assert len(watch.ran) == 3


def test_a_name_in_an_open_folder_is_known_by_its_whole_path(tmp_path: Path) -> None:
    watch = Watch()
    watch.allowed = (tmp_path / "out",)
    (tmp_path / "out").mkdir()
    inside, outside = os.open(tmp_path / "out", os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    try:
        watch._note("os.remove", ("a", inside))
        assert not watch.wrote
        watch._note("os.remove", ("a", outside))
        watch._note("os.symlink", (str(tmp_path / "out" / "a"), "b", outside))
        assert watch.wrote == [f"os.remove {tmp_path / 'a'}", f"os.symlink {tmp_path / 'b'}"]
    finally:
        os.close(inside)
        os.close(outside)


def test_a_case_is_the_same_each_time(thing: list[Path], tmp_path: Path) -> None:
    read = []
    target = toy(lambda path, out: read.append([(inner.name, inner.is_file()) for inner in path.iterdir()]))
    for case in range(20):
        first, again = (judge(target, thing, tmp_path / "place", SEED, case) for _ in range(2))
        assert first == again
        assert read[-1] == read[-2]
    assert len({judge(target, thing, tmp_path / "place", SEED, case).damage for case in range(40)}) > 10
