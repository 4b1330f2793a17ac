"""`--json` of every command: exactly one JSON object on stdout, with the fields of the contract."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TINY, Ran

from bowerbird.cli.main import main

SETTINGS = [part for setting in TINY for part in ("--set", setting)]
LITTLE = ["--set", "samples=2", "--set", "length=40"]


def called(*arguments: Any) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def life(poems: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """What each command printed, called once in the order of a model's life."""
    root = tmp_path_factory.mktemp("life")
    data, run, tuned, space = root / "data", root / "run", root / "tuned", root / "space"
    calls: dict[str, list[Any]] = {
        "prepare": ["prepare", poems, "--out", data],
        "train": ["train", data, "--out", run, "--steps", 6, *SETTINGS],
        "resume": ["resume", run, "--steps", 2],
        "finetune": ["finetune", run, data, "--out", tuned, "--steps", 2],
        "evaluate": ["evaluate", run, *LITTLE],
        "against": ["evaluate", run, "--against", tuned, "--out", root / "compared", *LITTLE],
        "generate": ["generate", run, "--prompt", "the sea", "-n", 2, "--length", 8, "--seed", 4],
        "generate to files": ["generate", run, "-n", 2, "--length", 8, "--out", root / "made"],
        "publish": ["publish", run, "poems", "--alias", "live"],
        "publish again": ["publish", tuned, "poems"],
        "promote": ["promote", "poems@2"],
        "rollback": ["rollback", "poems"],
        "versions": ["versions", "poems"],
        "versions --log": ["versions", "poems", "--log"],
        "diff": ["diff", "poems@1", "poems@2"],
        "inspect dataset": ["inspect", data],
        "inspect run": ["inspect", run],
        "inspect model": ["inspect", "poems@live"],
        "verify-resume": ["verify-resume", run, "--steps", 4, "--stops", 1],
        "doctor": ["doctor"],
        **{f"list {shelf}": ["list", shelf] for shelf in ("models", "cells", "sources", "metrics", "codecs")},
    }
    return {name: called(*arguments, "--json", "--workspace", space) for name, arguments in calls.items()}


def told(life: dict[str, Ran], name: str) -> dict[str, Any]:
    assert life[name].code == 0, life[name].err
    lines = life[name].out.splitlines()
    assert len(lines) == 1, "one object and nothing else"
    found = json.loads(lines[0], parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert isinstance(found, dict)
    return found


def test_every_command_prints_exactly_one_object_and_no_progress_beside_it(life: dict[str, Ran]) -> None:
    for name in life:
        told(life, name)


def test_prepare_tells_what_became_of_the_sources(life: dict[str, Ran], poems: Path) -> None:
    found = told(life, "prepare")
    assert {"dataset", "kind", "items", "rejected", "bytes", "digest", "splits"} <= set(found)
    assert found["kind"] == "text"
    assert found["splits"].keys() == {"train", "valid", "test"}
    assert sum(found["splits"].values()) == found["items"]
    ledger = [json.loads(line) for line in (Path(found["dataset"]) / "ledger.jsonl").read_text().splitlines()]
    assert len(ledger) == len(list(poems.iterdir()))
    assert all({"origin", "status", "reason", "digest"} <= set(line) for line in ledger)
    assert {line["status"] for line in ledger} <= {"kept", "rejected", "duplicate"}
    assert sum(line["status"] == "kept" for line in ledger) == found["items"]


@pytest.mark.parametrize(("name", "steps"), [("train", 6), ("resume", 8), ("finetune", 2)])
def test_training_tells_how_it_went(life: dict[str, Ran], name: str, steps: int) -> None:
    found = told(life, name)
    wanted = {"run", "kind", "model", "parameters", "steps", "seconds", "stopped", "best", "bundle_digest"}
    assert wanted <= set(found)
    assert (found["kind"], found["model"], found["steps"], found["stopped"]) == (
        "text",
        "lstm",
        steps,
        "steps",
    )
    assert found["best"].keys() >= {"step", "scores"}
    assert found["best"]["scores"]["bits_per_byte"] > 0
    assert found["bundle_digest"].startswith("sha256:")
    assert found["parameters"] > 0
    assert found["seconds"] > 0


def test_fine_tuning_tells_its_parent_and_what_was_unseen(life: dict[str, Ran]) -> None:
    found = told(life, "finetune")
    assert found["parent"] == told(life, "resume")["bundle_digest"]
    assert found["unseen"]["characters"] == 0


def test_evaluate_tells_scores_each_with_unit_sample_and_interval(life: dict[str, Ran]) -> None:
    found = told(life, "evaluate")
    assert {"model", "digest", "scores"} <= set(found)
    assert {"bits_per_byte", "novelty"} <= {score["name"] for score in found["scores"]}
    for score in found["scores"]:
        assert {"name", "value", "unit", "better", "n", "interval", "note"} <= set(score)
        assert score["better"] in ("lower", "higher")
    bits = next(score for score in found["scores"] if score["name"] == "bits_per_byte")
    assert bits["interval"][0] <= bits["value"] <= bits["interval"][1]
    assert told(life, "against")["comparison"]


def test_generate_tells_each_sample_with_its_seed_and_end(life: dict[str, Ran]) -> None:
    samples = told(life, "generate")["samples"]
    assert [sample["seed"] for sample in samples] == [4, 5]
    assert all(sample["finish_reason"] in ("stop", "length") for sample in samples)
    assert all(isinstance(sample["text"], str) for sample in samples)
    for sample in told(life, "generate to files")["samples"]:
        assert Path(sample["path"]).read_text(encoding="utf-8") == sample["text"]


def test_versions_tell_where_each_came_from(life: dict[str, Ran]) -> None:
    first, second = told(life, "versions")["versions"]
    wanted = {"name", "version", "digest", "created", "aliases", "scores", "parent"}
    assert wanted <= set(first)
    assert (first["version"], first["aliases"], second["version"], second["aliases"]) == (1, ["live"], 2, [])
    assert second["parent"] == first["digest"] == told(life, "resume")["bundle_digest"]
    assert told(life, "publish")["version"] == 1
    assert (told(life, "promote")["version"], told(life, "rollback")["version"]) == (2, 1)


def test_the_log_tells_every_move_with_who_and_when(life: dict[str, Ran]) -> None:
    log = told(life, "versions --log")["log"]
    assert [entry["action"] for entry in log] == ["publish", "promote", "publish", "promote", "rollback"]
    assert all({"when", "who", "alias", "version", "previous", "why"} <= set(entry) for entry in log)


def test_a_difference_tells_both_sides(life: dict[str, Ran]) -> None:
    found = told(life, "diff")
    assert {"models", "same", "config", "data", "scores"} <= set(found)
    assert found["models"][1]["parent"] == found["models"][0]["digest"]
    assert {"name", "first", "second", "change"} <= set(found["scores"][0])


def test_inspect_tells_what_a_thing_is(life: dict[str, Ran]) -> None:
    whats = [told(life, f"inspect {what}")["what"] for what in ("dataset", "run", "model")]
    assert whats == ["dataset", "run", "model"]
    assert told(life, "inspect dataset")["digest"] == told(life, "prepare")["digest"]
    assert told(life, "inspect model")["digest"] == told(life, "publish")["digest"]
    links = told(life, "inspect model")["chain"]
    assert [link["what"] for link in links] == ["dataset", "run", "bundle", "version"]
    assert links[0]["name"] == told(life, "prepare")["dataset"]


def test_lists_name_the_parts(life: dict[str, Ran]) -> None:
    assert told(life, "list cells") == {"shelf": "cells", "names": ["lstm", "gru", "rnn", "mingru"]}
    assert "characters" in told(life, "list codecs")["names"]


def test_verify_resume_tells_that_every_tensor_is_equal(life: dict[str, Ran]) -> None:
    found = told(life, "verify-resume")
    assert found["equal"] is True
    assert all(row["equal"] for row in found["tensors"])


def test_doctor_tells_what_is_there(life: dict[str, Ran]) -> None:
    checks = {check["name"]: check for check in told(life, "doctor")["checks"]}
    assert {"python", "torch", "extra gather", "workspace"} <= set(checks)
    assert all(isinstance(check["ok"], bool) for check in checks.values())


def test_the_same_command_without_json_prints_lines_and_what_to_do_next(
    tiny_run: Path, bowerbird: Callable[..., Ran]
) -> None:
    ran = bowerbird("publish", tiny_run, "x")
    assert ran.out == "published x@1\n"
    assert "next: bowerbird serve x" in ran.err
