"""The command line's manners: help, exit codes, right names for wrong ones, where options come from, silence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.conftest import TINY, Ran

from bowerbird.base import errors
from bowerbird.cli import main as module
from bowerbird.cli import show
from bowerbird.cli.main import build_app, main

SETTINGS = [part for setting in TINY for part in ("--set", setting)]
COMMANDS = [name for name in build_app() if not name.startswith("-")]
Bowerbird = Callable[..., Ran]


def test_the_commands_of_the_contract_are_there() -> None:
    wanted = {"demo", "prepare", "inspect", "train", "resume", "sweep", "evaluate", "generate", "finetune", "publish",
              "versions", "promote", "rollback", "verify-resume", "list", "doctor"}  # fmt: skip
    assert wanted <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_the_shared_options(
    command: str, bowerbird: Bowerbird
) -> None:
    ran = bowerbird(command, "--help")
    assert ran.code == 0
    assert f"Example: bowerbird {command}" in re.sub(r"\s+", " ", ran.out)
    for option in ("--json", "--quiet", "--workspace"):
        assert option in ran.out
    assert ran.err == ""


def test_the_help_of_all_names_every_command(bowerbird: Bowerbird) -> None:
    ran = bowerbird("--help")
    assert ran.code == 0
    assert all(command in ran.out for command in COMMANDS)


def test_the_version_is_told(bowerbird: Bowerbird) -> None:
    assert bowerbird("--version").out.strip() == "0.1.0"


WRONG: list[tuple[list[Any], str]] = [
    (["trian", "x"], "train"),
    (["generat", "x"], "generate"),
    (["train", "DATA", "--out", "OUT", "--step", "3"], "--steps"),
    (["train", "DATA", "--out", "OUT", "--minuts", "3"], "--minutes"),
    (["train", "DATA", "--out", "OUT", "--steps", "1", "--model", "lstn"], "lstm"),
    (["train", "DATA", "--out", "OUT", "--steps", "1", "--size", "smal"], "small"),
    (["train", "DATA", "--out", "OUT", "--steps", "1", "--set", "model.widht=3"], "model.width"),
    (["prepare", "DATA", "--out", "OUT", "--kind", "txt"], "text"),
    (["prepare", "DATA", "--out", "OUT", "--set", "codec.nam=bytes"], "codec.name"),
    (["sweep", "DATA", "--out", "OUT", "--vary", "batchsize=1,2"], "batch_size"),
    (["sweep", "DATA", "--out", "OUT", "--varry", "batch_size=1,2"], "--vary"),
    (["generate", "RUN", "--temprature", "1"], "--temperature"),
    (["list", "cell"], "cells"),
]


@pytest.mark.parametrize(
    ("arguments", "right"),
    WRONG,
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else value,
)
def test_a_wrong_name_ends_with_2_and_the_right_one(
    arguments: list[Any], right: str, tiny_dataset: Path, tiny_run: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    places = {"DATA": tiny_dataset, "OUT": tmp_path / "out", "RUN": tiny_run}
    ran = bowerbird(*(places.get(argument, argument) for argument in arguments))
    assert ran.code == 2, ran
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert right in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["train"],
        ["train", "DATA"],
        ["prepare", "--out", "OUT"],
        ["train", "DATA", "--out", "OUT", "--steps", "few"],
        ["train", "DATA", "--out", "OUT", "--steps", "0"],
        ["train", "DATA", "--out", "OUT", "--steps", "-3"],
        ["train", "DATA", "--out", "OUT", "--minutes", "0"],
        ["train", "DATA", "--out", "OUT", "--minutes", "nan"],
        ["train", "DATA", "--out", "OUT", "--minutes", "inf"],
        ["train", "DATA", "--out", "OUT", "--minutes", "1", "--steps", "1"],
        ["train", "DATA", "--out", "OUT", "--steps", "1", "--seed", "-1"],
        ["train", "DATA", "--out", "OUT", "--steps", "1", "--set", "width"],
        ["sweep", "DATA", "--out", "OUT"],
        ["sweep", "DATA", "--out", "OUT", "--vary", "batch_size=1,0"],
        ["sweep", "DATA", "--out", "OUT", "--vary", "batch_size=1,2", "--trials", "0"],
        ["prepare", "DATA", "--out", "OUT", "--seed", "-1"],
        ["prepare", "DATA", "--out", "OUT", "--set", "split.valid=0.9", "--set", "split.test=0.2"],
        ["promote", "poems"],
        ["promote", "poems@live"],
        ["verify-resume", "RUN", "--steps", "3", "--stops", "3"],
        ["generate", "RUN", "one", "two"],
        ["evaluate", "RUN", "--set", "samples=0"],
        ["evaluate", "RUN", "--set", "length=0"],
        ["evaluate", "RUN", "--set", "most_bytes=0"],
        ["evaluate", "RUN", "--seed", "-1"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_leaves_nothing_behind(
    arguments: list[str], tiny_dataset: Path, tiny_run: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    places = {"DATA": tiny_dataset, "OUT": tmp_path / "out", "RUN": tiny_run}
    ran = bowerbird(*(places.get(argument, argument) for argument in arguments))
    assert ran.code == 2, ran
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [["inspect", "nothing"], ["generate", "nothing"], ["generate", "poems@live"], ["resume", "nothing"],
     ["versions", "nothing"],
     ["evaluate", "nothing"],
     ["train", "nothing", "--out", "o", "--steps", "1"], ["rollback", "nothing"],
     ["sweep", "nothing", "--out", "o", "--vary", "batch_size=1,2"],
     ["publish", "nothing", "x"],
     ["prepare", "nothing", "--out", "o"], ["verify-resume", "nothing"], ["finetune", "nothing", "DATA", "--out", "o"],
     ["train", "DATA", "--out", "o", "--steps", "1", "--config", "nothing.yaml"], ["promote", "nothing@1"]],
    ids=" ".join,
)  # fmt: skip
def test_what_is_not_there_ends_with_4(
    arguments: list[str],
    tiny_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bowerbird: Bowerbird,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = bowerbird(*(tiny_dataset if argument == "DATA" else argument for argument in arguments))
    assert ran.code == 4, ran
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_ends_with_5(
    tiny_dataset: Path, poems: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    (tmp_path / "mine").write_text("mine")
    for arguments in (["train", tiny_dataset, "--steps", 1], ["prepare", poems]):
        ran = bowerbird(*arguments, "--out", tmp_path)
        assert ran.code == 5, ran
        assert "hint: choose another --out" in ran.err
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("raised", "code"),
    [(errors.Interrupted("stopped", where="r", hint="bowerbird resume r"), 130), (errors.Refused("no"), 5),
     (errors.StorageError("full"), 3), (KeyboardInterrupt(), 130), (ZeroDivisionError("ours"), 1)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_each_end_has_its_code_and_only_a_fault_of_ours_its_traceback(
    raised: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    bowerbird: Bowerbird,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def __call__(self, *_: Any, **__: Any) -> None:
            raise raised

    monkeypatch.setattr(module, "build_app", Broken)
    ran = bowerbird("doctor")
    assert ran.code == code
    assert ("ZeroDivisionError" in ran.err + caplog.text) == (code == 1)
    if isinstance(raised, errors.Interrupted):
        assert ran.err == "error: stopped\n  where: r\n  hint: bowerbird resume r\n"


def test_square_brackets_in_an_error_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show.error(errors.DataError("bad [bold]x[/bold]", where="a[0].txt", hint="pip install 'bowerbird[eval]'"))
    assert (
        capsys.readouterr().err
        == "error: bad [bold]x[/bold]\n  where: a[0].txt\n  hint: pip install 'bowerbird[eval]'\n"
    )


def test_options_come_from_the_environment_and_the_command_line_wins(
    tiny_dataset: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bowerbird: Bowerbird
) -> None:
    monkeypatch.setenv("BOWERBIRD_JSON", "1")
    monkeypatch.setenv("BOWERBIRD_LENGTH", "5")
    monkeypatch.setenv("BOWERBIRD_SEED", "9")
    first = json.loads(bowerbird("generate", tiny_run, "--temperature", 0).out)["samples"][0]
    assert (first["seed"], first["finish_reason"], len(first["text"]) <= 5) == (9, "length", True)
    assert json.loads(bowerbird("generate", tiny_run, "--seed", 2).out)["samples"][0]["seed"] == 2
    monkeypatch.setenv("BOWERBIRD_MINUTES", "0")
    ran = bowerbird("train", tiny_dataset, "--out", tmp_path / "run")
    assert (ran.code, "--minutes must be above 0" in ran.err) == (2, True)
    monkeypatch.setenv("BOWERBIRD_MINUTES", "soon")
    assert bowerbird("train", tiny_dataset, "--out", tmp_path / "run").code == 2
    assert bowerbird("versions").code == 0, "other commands do not mind"


def test_the_workspace_comes_from_the_environment_or_the_option(
    tiny_run: Path, workspace: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    assert bowerbird("publish", tiny_run, "here").code == 0
    assert bowerbird("publish", tiny_run, "there", "--workspace", tmp_path / "other").code == 0
    assert "there" not in bowerbird("versions").out
    assert "there@1" in bowerbird("versions", "--workspace", tmp_path / "other").out
    assert workspace.exists()


def test_a_config_file_is_below_set_and_above_the_preset(
    tiny_dataset: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    (tmp_path / "c.yaml").write_text("batch_size: 3\nlength: 7\nmodel:\n  width: 9\n  embedding: 5\n")
    ran = bowerbird("train", tiny_dataset, "--out", tmp_path / "run", "--steps", 1, "--seed", 6, "--model", "gru",
                    "--config", tmp_path / "c.yaml", "--set", "length=8", "--set", "model.width=10")  # fmt: skip
    assert ran.code == 0, ran.err
    settings = json.loads(bowerbird("inspect", tmp_path / "run", "--json").out)["settings"]
    model = settings["model"]
    assert (settings["batch_size"], settings["length"], settings["seed"]) == (3, 8, 6)
    assert (model["width"], model["embedding"], model["cell"]) == (10, 5, "gru")


def test_quiet_says_nothing_on_stderr(
    tiny_dataset: Path, poems: Path, tiny_run: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    for arguments in (
        ["prepare", poems, "--out", tmp_path / "d"],
        ["train", tiny_dataset, "--out", tmp_path / "r", "--steps", 3, *SETTINGS],
        ["generate", tiny_run, "--length", 5, "--prompt", "☃"],
        ["publish", tiny_run, "x"],
        ["versions"],
        ["doctor"],
    ):
        ran = bowerbird(*arguments, "--quiet")
        assert (ran.code, ran.err) == (0, ""), arguments
        assert ran.out


def test_progress_goes_to_stderr_and_results_to_stdout(
    tiny_dataset: Path, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    ran = bowerbird("train", tiny_dataset, "--out", tmp_path / "r", "--steps", 4, *SETTINGS)
    assert ran.code == 0
    assert "held out: loss" in ran.err
    assert "settings:" in ran.err
    assert "model.width=16" in ran.err, "what --size filled in is shown"
    assert f"next: bowerbird evaluate {tmp_path / 'r'}" in ran.err
    assert "held out: loss" not in ran.out
    assert "4 steps" in ran.out


def test_one_sample_is_streamed_as_the_same_text_that_is_made_at_once(
    tiny_run: Path, bowerbird: Bowerbird
) -> None:
    arguments = ["generate", tiny_run, "--prompt", "the sea", "--length", 60, "--seed", 3, "--temperature", 1]
    streamed = bowerbird(*arguments, "--quiet").out
    made = json.loads(bowerbird(*arguments, "--json").out)["samples"][0]["text"]
    assert streamed == f"the sea{made}\n"


def test_the_listener_of_a_run_says_what_matters_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    codec = SimpleNamespace(unit="byte")
    tell = show.follow(show.Output(), SimpleNamespace(units_per_token=lambda: 1.0, codec=codec))
    tell(
        {
            "event": "start",
            "settings": {"seed": 1, "model": {"width": 3, "tied": False}, "device": None, "freeze": []},
        }
    )
    tell({"event": "train", "step": 1200, "loss": 0.6931471805599453, "steps_per_second": 10.0, "tokens": 500,
          "seconds": 20.0, "seconds_left": 3725.0, "gradient_norm": 1.0, "rate": 1.0, "progress": 0.5})  # fmt: skip
    tell({"event": "sample", "text": "a\nb [x]"})
    tell({"event": "warning", "message": "overfitting [!]"})
    assert capsys.readouterr().err.splitlines() == [
        "settings: seed=1 model.width=3",
        "step 1,200  loss 0.693  1.000 bits/byte  5.0k characters/s  1:02:05 left",
        "  sample: 'a\\nb [x]'",
        "warning: overfitting [!]",
    ]


def test_calling_main_without_arguments_shows_help(bowerbird: Bowerbird) -> None:
    ran = bowerbird()
    assert ran.code == 0
    assert "prepare" in ran.out
    assert main(["--help"]) == 0
