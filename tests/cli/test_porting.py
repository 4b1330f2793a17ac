"""The commands that take a model elsewhere, and what `publish` says of fewer bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tests.conftest import Ran

import bowerbird as bb

Command = Callable[..., Ran]


def told(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_export_tells_where_what_and_how_true(bowerbird: Command, tiny_run: Path, tmp_path: Path) -> None:
    found = told(bowerbird("export", tiny_run, "--to", "pth", "--out", tmp_path / "m.pth", "--json"))
    assert {"path", "format", "parity", "digest", "size_bytes"} <= set(found)
    assert (found["path"], found["format"]) == (str(tmp_path / "m.pth"), "pth")
    assert found["parity"]["max_abs_difference"] == 0.0
    assert {"batch", "length", "state", "max_abs_difference"} == set(found["parity"]["cases"][0])
    assert found["digest"] == bb.load(tiny_run).digest
    assert found["size_bytes"] == (tmp_path / "m.pth").stat().st_size


def test_a_run_is_exported_with_its_optimizer_unless_told(
    bowerbird: Command, tiny_run: Path, tmp_path: Path
) -> None:
    for name, options in {"whole": [], "half": ["--without-optimizer"]}.items():
        ran = bowerbird("export", tiny_run, "--to", "pth", "--out", tmp_path / f"{name}.pth", *options)
        assert ran.code == 0, ran.err
    whole, half = (torch.load(tmp_path / f"{name}.pth", weights_only=True) for name in ("whole", "half"))
    assert any("exp_avg" in name for name in whole["optimizer"])
    assert "optimizer" not in half
    assert (tmp_path / "half.pth").stat().st_size < (tmp_path / "whole.pth").stat().st_size


def test_without_json_the_lines_are_printed(bowerbird: Command, tiny_run: Path, tmp_path: Path) -> None:
    ran = bowerbird("export", tiny_run, "--to", "safetensors", "--out", tmp_path / "m")
    assert ran.code == 0, ran.err
    head, _, lines = ran.out.partition("\n\n")
    assert f"wrote {tmp_path / 'm'} (" in head
    assert "largest difference from the model, over " in head
    assert lines.startswith("import json")
    compile(lines, "lines", "exec")


def test_a_place_that_is_taken_is_refused(bowerbird: Command, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_text("mine")
    ran = bowerbird("export", tiny_run, "--to", "pth", "--out", tmp_path / "m.pth")
    assert ran.code == 5
    assert "never overwritten" in ran.err
    assert (tmp_path / "m.pth").read_text() == "mine"


def test_an_unknown_format_is_answered_with_a_known_one(
    bowerbird: Command, tiny_run: Path, tmp_path: Path
) -> None:
    ran = bowerbird("export", tiny_run, "--to", "safetensor", "--out", tmp_path / "m")
    assert ran.code == 2
    assert "did you mean `safetensors`" in ran.err


def test_exporters_and_precisions_are_listed(bowerbird: Command) -> None:
    assert {"safetensors", "pth"} <= set(told(bowerbird("list", "exporters", "--json"))["names"])
    assert told(bowerbird("list", "precisions", "--json"))["names"] == [
        "float32",
        "bfloat16",
        "float16",
        "int8",
    ]


def test_publishing_fewer_bits_says_what_they_cost(
    bowerbird: Command, tiny_run: Path, tiny_dataset: Path
) -> None:
    ran = bowerbird("publish", tiny_run, "poems", "--precision", "int8")
    assert ran.code == 0, ran.err
    assert "bits per byte: " in ran.out
    assert "by fewer bits" in ran.out
    found = told(bowerbird("publish", tiny_run, "poems", "--precision", "int8", "--json"))
    assert found["version"] == 1
    assert "valid_bits_per_byte_lost" in found["scores"]


def test_a_cost_that_cannot_be_measured_is_a_warning(
    bowerbird: Command, tiny_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(bb.load(tiny_run).bundle.path, tmp_path / "alone")
    ran = bowerbird(
        "publish", tmp_path / "alone", "poems", "--precision", "int8", "--workspace", tmp_path / "other"
    )
    assert ran.code == 0, ran.err
    assert "warning: its dataset is not known here" in ran.err
