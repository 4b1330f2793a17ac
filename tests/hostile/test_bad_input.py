"""Bad input and bad luck around a run: each ends with its exit code, says what to do, and breaks nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TINY, Ran

from bowerbird import lifecycle
from bowerbird.base import journal
from bowerbird.base.errors import CorruptFile, StorageError
from bowerbird.runs.run import Run
from bowerbird.store import bundle
from bowerbird.store.bundle import open_checkpoint

SETTINGS = [part for setting in TINY for part in ("--set", setting)]
Bowerbird = Callable[..., Ran]


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A run free to be changed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def refused(ran: Ran, code: int, *parts: str) -> None:
    """It ended with this code and said what, in plain lines, and nothing on stdout."""
    assert ran.code == code, ran
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert "error: " in ran.err
    assert all(part in ran.err for part in parts), ran.err


# Two processes on one run.

HOLD = """
import sys
from pathlib import Path
from bowerbird.runs.run import Run
with Run.open(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_on_a_run_is_refused_with_5_and_may_have_it_afterwards(
    run: Path, bowerbird: Bowerbird
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        before = sorted(run.rglob("*"))
        refused(
            bowerbird("resume", run, "--steps", 1),
            5,
            "another process is training this run",
            f"where: {run}",
            "hint:",
        )
        assert sorted(run.rglob("*")) == before
        assert bowerbird("generate", run, "--length", 3).code == 0, "reading it is no harm"
        holder.kill()  # as a crash would: the system lets go of what it held
        holder.wait(timeout=20)
        assert bowerbird("resume", run, "--steps", 1).code == 0
    finally:
        holder.kill()
        holder.wait(timeout=20)
        holder.stdin.close()
        holder.stdout.close()


# Disks that are full or say no.


@contextmanager
def as_someone_without_rights() -> Iterator[Path]:
    """A folder that may not be written to; root, who may write anywhere, becomes nobody for a while."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    try:
        folder.chmod(0o555)
        if root:
            os.seteuid(65534)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_without_write_permission_is_told_before_any_work(bowerbird: Bowerbird) -> None:
    with tempfile.TemporaryDirectory() as given:
        source = Path(given, "poem.txt")
        source.write_text("the sea was under the stone\n" * 50)
        Path(given).chmod(0o755)
        lifecycle.prepare(source, Path(given, "data"))
        for path in [Path(given, "data"), *Path(given, "data").rglob("*")]:
            path.chmod(0o755)
        with as_someone_without_rights() as folder:
            for arguments in (
                ["prepare", source, "--out", folder / "data"],
                ["train", Path(given, "data"), "--out", folder / "run", "--steps", 1, *SETTINGS],
                ["train", Path(given, "data"), "--out", folder / "deep" / "run", "--steps", 1, *SETTINGS],
            ):
                refused(
                    bowerbird(*arguments, "--quiet"),
                    3,
                    "could not write: no permission",
                    f"where: {folder}",
                    "hint: choose a folder",
                )
            assert list(folder.iterdir()) == []


def test_a_folder_without_read_permission_is_told(tiny_dataset: Path, bowerbird: Bowerbird) -> None:
    with tempfile.TemporaryDirectory() as given:
        data = Path(shutil.copytree(tiny_dataset, Path(given, "data")))
        Path(given).chmod(0o755)
        data.chmod(0o000)
        with as_someone_without_rights() as folder:
            refused(
                bowerbird("train", data, "--out", folder / "run", "--steps", 1),
                3,
                "no permission",
                f"where: {data}",
                "hint:",
            )
            refused(bowerbird("inspect", data), 3, "no permission", f"where: {data}", "hint:")
        data.chmod(0o755)


@pytest.mark.parametrize("path", ["{file}/run", "{file}/deep/run", "{long}"])
def test_an_impossible_path_is_a_storage_error(
    path: str, tiny_dataset: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    (tmp_path / "file").write_text("mine")
    out = path.format(file=tmp_path / "file", long=tmp_path / ("x" * 300))
    refused(
        bowerbird("train", tiny_dataset, "--out", out, "--steps", 1, *SETTINGS, "--quiet"),
        3,
        "could not write",
        "where: ",
        "hint:",
    )
    assert os.listdir(tmp_path) == ["file"]


def full_after(writes: int, real: Any) -> Any:
    """`real`, until it was called so often; then half a file and a full disk."""
    left = [writes]

    def write(tensors: Any, path: Path) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            return real(tensors, path)
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    return write


@pytest.mark.parametrize("writes", [2, 3, 4, 5, 7])
def test_a_disk_that_fills_up_while_saving_leaves_the_last_checkpoint_good(
    writes: int, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bowerbird: Bowerbird
) -> None:
    straight = lifecycle.train(tiny_dataset, tmp_path / "straight", steps=12, settings=TINY)
    monkeypatch.setattr(bundle, "save_file", full_after(writes, bundle.save_file))
    out = tmp_path / "run"
    ran = bowerbird("train", tiny_dataset, "--out", out, "--steps", 12, *SETTINGS)
    refused(ran, 3, "could not write: the disk is full", "hint: free some space")
    monkeypatch.undo()
    assert not [path for path in out.rglob("*") if path.name.startswith(".") and path.name != ".lock"], (
        "nothing half-written"
    )
    found = Run.open(out)
    for checkpoint in found.checkpoints():
        open_checkpoint(checkpoint)
    resumed = lifecycle.resume(out)
    assert resumed.outcome["steps"] == 12
    assert resumed.outcome["bundle_digest"] == straight.outcome["bundle_digest"], (
        "as if it had never been full"
    )


def test_a_disk_that_is_full_from_the_start_leaves_no_run(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "save_file", full_after(0, bundle.save_file))
    with pytest.raises(StorageError):
        lifecycle.train(tiny_dataset, tmp_path / "run", steps=2, settings=TINY)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_full_for_the_journal_alone_is_told_too(
    run: Path, monkeypatch: pytest.MonkeyPatch, bowerbird: Bowerbird
) -> None:
    def no_room(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(journal, "write_whole", no_room)
    real = journal.Journal.write

    def write(self: journal.Journal, **record: Any) -> None:
        with journal.storage_errors(self.path):
            no_room()
        real(self, **record)

    monkeypatch.setattr(journal.Journal, "rewind", lambda self, step: None)
    monkeypatch.setattr(journal.Journal, "write", write)
    refused(bowerbird("resume", run, "--steps", 4), 3, "the disk is full")
    monkeypatch.undo()
    assert lifecycle.resume(run, steps=1).outcome["stopped"] == "steps"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_a_result_that_cannot_be_written_to_stdout_is_an_error(tiny_run: Path) -> None:
    command = [sys.executable, "-m", "bowerbird", "inspect", str(tiny_run), "--json"]
    with open("/dev/full", "w") as disk:
        done = subprocess.run(command, stdout=disk, stderr=subprocess.PIPE, check=False)
    assert done.returncode != 0


# Runs that are none, or damaged.


@pytest.mark.parametrize("command", ["resume", "verify-resume", "inspect", "generate", "evaluate"])
def test_a_folder_that_is_no_run_is_refused(command: str, tmp_path: Path, bowerbird: Bowerbird) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    ran = bowerbird(command, tmp_path)
    refused(ran, 4 if command.endswith("resume") else 3, f"where: {tmp_path}", "hint:")
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_any_change_to_what_a_run_was_begun_with_is_noticed(run: Path, bowerbird: Bowerbird) -> None:
    record = json.loads((run / "run.json").read_text())
    assert Run.open(run).record == record
    for change in (
        {"settings": {**record["settings"], "seed": 7}},
        {"budget": {"minutes": 5, "steps": None}},
        {"parent": "sha256:0"},
        {"digest": None},
        {"kind": "morse"},
        {"settings": None},
    ):
        (run / "run.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(CorruptFile):
            Run.open(run)
    refused(bowerbird("resume", run), 3, "changed or damaged", "where:", "hint:")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"format": 1}', '{"format": 99, "kind": 1, "settings": 1, "dataset": 1}']
)
def test_a_run_whose_record_is_something_else_is_refused(
    run: Path, content: str, bowerbird: Bowerbird
) -> None:
    (run / "run.json").write_text(content)
    refused(bowerbird("resume", run), 3, f"where: {run}")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"step": "x", "scores": {}}',
        '{"step": -1, "scores": {}}',
        '{"step": 999, "scores": {}}',
    ],
)
def test_a_damaged_record_of_the_best_checkpoint_is_told(
    run: Path, content: str, bowerbird: Bowerbird
) -> None:
    (run / "best.json").write_text(content)
    refused(bowerbird("generate", run, "--length", 3), 3, "where:")


def test_a_damaged_newest_checkpoint_is_told_and_not_trained_on(run: Path, bowerbird: Bowerbird) -> None:
    newest = Run.open(run).checkpoints()[-1]
    state = newest / "checkpoint.json"
    state.write_text(state.read_text().replace('"step": 12', '"step": 11'))
    refused(bowerbird("resume", run, "--steps", 2), 3, "changed or damaged", f"where: {state}")
    assert bowerbird("inspect", run).code == 0


def test_a_run_whose_dataset_has_gone_says_which(
    tiny_dataset: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    data = Path(shutil.copytree(tiny_dataset, tmp_path / "data"))
    lifecycle.train(data, tmp_path / "run", steps=2, settings=TINY)
    shutil.rmtree(data)
    refused(bowerbird("resume", tmp_path / "run", "--steps", 1), 4, f"where: {data}")
    refused(bowerbird("evaluate", tmp_path / "run"), 4, "not known here", "hint: name it: --dataset")
    assert bowerbird("generate", tmp_path / "run", "--length", 3).code == 0, (
        "a model needs no dataset to speak"
    )


# Little text, strange prompts, wrong values.


def test_a_kilobyte_of_text_works_and_is_warned_about(tmp_path: Path, bowerbird: Bowerbird) -> None:
    (tmp_path / "little.txt").write_text(("so much depends upon a red wheel barrow\n" * 30)[:1000])
    assert bowerbird("prepare", tmp_path / "little.txt", "--out", tmp_path / "data").code == 0
    ran = bowerbird("train", tmp_path / "data", "--out", tmp_path / "run", "--steps", 5, *SETTINGS, "--json")
    assert ran.code == 0, ran.err
    assert "warning: too little text" in ran.err
    assert json.loads(ran.out)["steps"] == 5
    assert bowerbird("generate", tmp_path / "run", "--length", 5, "--quiet").code == 0
    ran = bowerbird("evaluate", tmp_path / "run", "--set", "samples=2", "--set", "length=30", "--json")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("text", ["a", "ab\n", "x y z"])
def test_a_few_characters_are_trained_on_or_refused_but_never_a_fault(
    text: str, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    (tmp_path / "few.txt").write_text(text)
    prepared = bowerbird("prepare", tmp_path / "few.txt", "--out", tmp_path / "data", "--quiet")
    if prepared.code:
        refused(prepared, 3)
        return
    run = ("train", tmp_path / "data", "--out", tmp_path / "run", "--steps", 2, *SETTINGS, "--json")
    refused(bowerbird(*run), 2, "more than the training text has")
    ran = bowerbird(*run, "--set", "length=1")
    assert ran.code == 0, ran
    assert bowerbird("generate", tmp_path / "run", "--length", 3, "--quiet").code == 0


def test_nothing_held_out_can_be_trained_on_but_not_judged_by(
    poems: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    nothing = ["--set", "split.valid=0", "--set", "split.test=0"]
    assert bowerbird("prepare", poems, "--out", tmp_path / "data", *nothing).code == 0
    assert bowerbird("train", tmp_path / "data", "--out", tmp_path / "run", "--steps", 4, *SETTINGS).code == 0
    refused(
        bowerbird("evaluate", tmp_path / "run"),
        2,
        "nothing held out",
        "hint: prepare it with --set split.test",
    )


def test_a_prompt_of_characters_never_learnt_works_and_is_warned_about(
    tiny_run: Path, bowerbird: Bowerbird
) -> None:
    ran = bowerbird("generate", tiny_run, "--prompt", "the ☃ 日", "--length", 5, "--seed", 1)
    assert ran.code == 0
    assert ran.out.startswith("the ☃ 日")
    assert "warning: the model never learnt these characters of the prompt: ☃ 日" in ran.err
    assert "warning" not in bowerbird("generate", tiny_run, "--prompt", "the sea", "--length", 5).err


@pytest.mark.parametrize(
    "prompt", ["\x00\x01", "\ufdd0\ufdd2", "\u202eabc", "e" + "\u0301" * 50, "\ud800", "x" * 20_000, "\r\n\r"]
)
def test_a_strange_prompt_is_read_as_text(prompt: str, tiny_run: Path) -> None:
    model = lifecycle.load(tiny_run)
    first, again = (model.generate(prompt=prompt, length=4, seed=2)[0].text for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("option", "value"),
    [("--temperature", "-1"), ("--temperature", "nan"), ("--temperature", "inf"), ("--temperature", "warm"),
     ("--temperature", "11"),
     ("-n", "0"), ("-n", "-2"), ("-n", "99999"), ("--length", "0"), ("--length", "-5"), ("--top-p", "0"),
     ("--top-p", "1.1"), ("--top-p", "nan"), ("--top-k", "0"), ("--top-k", "-1"), ("--min-p", "-0.1"), ("--min-p", "2"),
     ("--repetition-penalty", "0"), ("--repetition-penalty", "nan"), ("--seed", "-1"), ("--seed", str(1 << 63))],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_and_named(
    option: str, value: str, tiny_run: Path, bowerbird: Bowerbird
) -> None:
    ran = bowerbird("generate", tiny_run, option, value)
    refused(ran, 2)
    assert option.strip("-").replace("-", "_") in ran.err.replace("-", "_")


def test_a_prompt_file_is_read_or_told_to_be_missing(
    tiny_run: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    (tmp_path / "p.txt").write_text("the lark", encoding="utf-8")
    assert bowerbird("generate", tiny_run, "--prompt-file", tmp_path / "p.txt", "--length", 3).out.startswith(
        "the lark"
    )
    for missing in (tmp_path / "none.txt", tmp_path):
        refused(
            bowerbird("generate", tiny_run, "--prompt-file", missing),
            4,
            "prompt file is not there",
            f"where: {missing}",
        )
    refused(
        bowerbird("generate", tiny_run, "--prompt", "x", "--prompt-file", tmp_path / "p.txt"), 2, "not both"
    )
    (tmp_path / "p.txt").write_bytes(b"\xff\xfe\x80sea")
    assert bowerbird("generate", tiny_run, "--prompt-file", tmp_path / "p.txt", "--length", 3).code == 0


def test_a_precision_that_the_processor_lacks_leaves_no_run(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bowerbird: Bowerbird
) -> None:
    monkeypatch.setattr("bowerbird.base.device.bfloat16_on_cpu", lambda: False)
    ran = bowerbird(
        "train",
        tiny_dataset,
        "--out",
        tmp_path / "run",
        "--steps",
        1,
        *SETTINGS,
        "--set",
        "precision=bfloat16",
        "--set",
        "device=cpu",
    )
    refused(ran, 2, "bfloat16")
    assert list(tmp_path.iterdir()) == []


def test_a_budget_too_short_for_a_step_says_so_and_leaves_nothing(
    tmp_path: Path, bowerbird: Bowerbird
) -> None:
    (tmp_path / "sea.txt").write_text("the sea is wide and the sky is blue\n" * 100)
    bowerbird("prepare", tmp_path / "sea.txt", "--out", tmp_path / "data", "--quiet")
    ran = bowerbird("train", tmp_path / "data", "--out", tmp_path / "run", "--minutes", 0.0001, *SETTINGS)
    refused(ran, 2, "before the first step", "--minutes")
    assert not (tmp_path / "run").exists()


def test_a_length_beyond_the_text_is_refused_before_any_work(tmp_path: Path, bowerbird: Bowerbird) -> None:
    (tmp_path / "sea.txt").write_text("the sea is wide and the sky is blue\n" * 100)
    bowerbird("prepare", tmp_path / "sea.txt", "--out", tmp_path / "data", "--quiet")
    ran = bowerbird(
        "train",
        tmp_path / "data",
        "--out",
        tmp_path / "run",
        "--steps",
        2,
        *SETTINGS,
        "--set",
        "length=90000",
    )
    refused(ran, 2, "more than the training text has", "--set length=")
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_beyond_the_text_is_made_smaller_and_said(tmp_path: Path, bowerbird: Bowerbird) -> None:
    (tmp_path / "sea.txt").write_text("the sea is wide and the sky is blue\n" * 100)
    ran = bowerbird(
        "prepare", tmp_path / "sea.txt", "--out", tmp_path / "data",
        "--set", "codec.name=bpe", "--set", "codec.vocab_size=50000", "--json",
    )  # fmt: skip
    assert ran.code == 0
    told = json.loads(ran.out)
    assert told["vocab_size"] < 400
    assert any("50,000" in note for note in told["notes"])
