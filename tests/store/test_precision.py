"""Weights in fewer bits come back as float32, off by no more than is promised; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bowerbird.base.errors import CorruptFile, DataError, UnknownName
from bowerbird.store.bundle import Bundle, read_tensors, write_bundle, write_tensors
from bowerbird.store.precision import PRECISIONS, as_float32, narrowed, widened


def weights() -> dict[str, Tensor]:
    torch.manual_seed(2)
    return {
        "matrix": torch.randn(40, 50) * torch.logspace(-4, 3, 40)[:, None],
        "kernel": torch.randn(8, 16, 3, 3),
        "zeros": torch.zeros(64, 32),
        "small": torch.randn(3, 5),
        "bias": torch.randn(4000),
        "counts": torch.arange(5000, dtype=torch.int32).view(50, 100),
        "seen": torch.tensor(7),
    }


EXACT = ("small", "bias", "counts", "seen", "zeros")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_comes_back_is_float32_and_nothing_is_missing(precision: str) -> None:
    given = weights()
    back = widened(narrowed(given, precision))
    assert back.keys() == given.keys()
    for name, value in back.items():
        assert (value.dtype, value.shape) == (given[name].dtype, given[name].shape)
    assert all(torch.equal(back[name], given[name]) for name in EXACT)


@pytest.mark.parametrize(("precision", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_sixteen_bits_keep_as_many_digits_as_they_have(precision: str, bits: int) -> None:
    given = weights()
    stored = narrowed(given, precision)
    assert stored["matrix"].dtype == getattr(torch, precision)
    off = (widened(stored)["matrix"] - given["matrix"]).abs()
    assert bool((off <= given["matrix"].abs() * 2.0**-bits + 6e-8).all())
    assert float(off.max()) > 0


def test_int8_is_off_by_half_a_step_of_its_row_at_most() -> None:
    given = weights()
    stored = narrowed(given, "int8")
    assert (stored["matrix"].dtype, stored["matrix/scale"].shape) == (torch.int8, (40,))
    for name in ("matrix", "kernel"):
        back = widened(stored)[name]
        steps = given[name].flatten(1).abs().amax(1) / 127
        off = (back - given[name]).flatten(1).abs()
        assert bool((off <= steps[:, None] * 0.5001).all())
        assert float(off.max()) > 0


def test_fewer_bits_are_fewer_bytes() -> None:
    def size(stored: dict[str, Tensor]) -> int:
        return sum(value.nbytes for name, value in stored.items() if name.partition("/")[0] not in EXACT)

    full = size(weights())
    assert size(narrowed(weights(), "float16")) == full / 2
    assert full / 4 < size(narrowed(weights(), "int8")) < full / 3.7


def test_a_second_time_changes_nothing() -> None:
    once = widened(narrowed(weights(), "int8"))
    twice = widened(narrowed(once, "int8"))
    for name, value in once.items():
        torch.testing.assert_close(twice[name], value, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("precision", "value", "instead"),
    [
        ("float16", 1e5, "bfloat16"),
        ("int8", float("nan"), "float32"),
        ("bfloat16", float("inf"), "float32"),
    ],
)
def test_a_number_that_does_not_fit_is_refused(precision: str, value: float, instead: str) -> None:
    given = {"w": torch.ones(40, 40)}
    given["w"][3, 3] = value
    with pytest.raises(DataError, match="`w` do not fit") as found:
        narrowed(given, precision)
    assert instead in str(found.value.hint)


def test_an_unknown_precision_is_answered_with_a_known_one() -> None:
    with pytest.raises(UnknownName, match="did you mean `float16`"):
        narrowed(weights(), "float61")


MATRIX = torch.ones(4, 3, dtype=torch.int8)


@pytest.mark.parametrize(
    "stored",
    [
        {"w": MATRIX},
        {"w/scale": torch.ones(4)},
        {"w": torch.ones(4, 3), "w/scale": torch.ones(4)},
        {"w": MATRIX, "w/scale": torch.ones(3)},
        {"w": MATRIX, "w/scale": torch.ones(4, 1)},
        {"w": MATRIX, "w/scale": torch.ones(4, dtype=torch.float64)},
        {"w": MATRIX[0], "w/scale": torch.ones(3)},
        {"w": MATRIX, "w/scale": torch.tensor(1.0)},
    ],
    ids=lambda stored: " ".join(f"{name}{tuple(value.shape)}" for name, value in stored.items()),
)
def test_scales_that_do_not_fit_are_damage(stored: dict[str, Tensor]) -> None:
    with pytest.raises(CorruptFile):
        widened(stored)


@pytest.mark.parametrize("told", [{}, {"weights": "int4"}, "int8", {"weights": None}, {"weights": ["int8"]}])
def test_a_precision_that_is_not_known_is_refused(told: Any, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match="precision"):
        as_float32({"w": MATRIX}, told, tmp_path)


def test_a_bundle_gives_its_weights_as_float32(tmp_path: Path) -> None:
    manifest = {
        "kind": "text", "config": {}, "codec": {}, "normaliser": {}, "structure": "plain", "lineage": {}, "step": 1,
        "precision": {"weights": "int8", "loss": None},
    }  # fmt: skip
    stored = narrowed(weights(), "int8")
    written = write_bundle(tmp_path / "b", manifest, weights=stored, partners={}, codec_files={}, card="")
    found = Bundle(tmp_path / "b", written).weights()
    assert all(torch.equal(found[name], value) for name, value in widened(stored).items())
    write_tensors(tmp_path / "b" / "weights.safetensors", {"matrix": stored["matrix"]})
    assert read_tensors(tmp_path / "b" / "weights.safetensors")["matrix"].dtype == torch.int8
    with pytest.raises(CorruptFile, match="scale"):
        Bundle(tmp_path / "b", written).weights()
