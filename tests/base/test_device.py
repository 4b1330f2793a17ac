"""The machine's side of a run: devices, threads, and noise that numbers alone decide."""

from __future__ import annotations

import os

import pytest
import torch

from bowerbird.base import device as module
from bowerbird.base.device import check_precision, mixed_seed, pick_device, seed_noise, use_threads
from bowerbird.base.errors import UsageError


def test_a_device_that_is_not_here_is_refused() -> None:
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(UsageError, match="no device called `gpu`") as found:
        pick_device("gpu")
    assert "cuda" in str(found.value.hint)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
def test_cuda_where_there_is_none_is_refused() -> None:
    assert pick_device().type == "cpu"
    with pytest.raises(UsageError, match="no CUDA"):
        pick_device("cuda:0")


def test_bfloat16_on_a_processor_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bfloat16_on_cpu", lambda: False)
    check_precision("float32", torch.device("cpu"))
    check_precision("bfloat16", torch.device("cuda"))
    with pytest.raises(UsageError, match="bfloat16"):
        check_precision("bfloat16", torch.device("cpu"))


def test_a_mixed_seed_is_the_same_everywhere_and_no_two_are_alike() -> None:
    assert mixed_seed(1, 2) == 7764949442709860949
    seeds = {mixed_seed(seed, step) for seed in range(30) for step in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 1 << 63 for seed in seeds)
    assert mixed_seed(-1) == mixed_seed((1 << 64) - 1)


def test_noise_is_decided_by_the_numbers_given() -> None:
    def noise(*parts: int) -> list[float]:
        seed_noise(*parts)
        return torch.rand(4).tolist()

    first = noise(1, 2)
    torch.rand(9)
    assert noise(1, 2) == first != noise(2, 1)


def test_threads_are_those_asked_for_or_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        assert use_threads(2) == torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert use_threads() == torch.get_num_threads() == 1
        monkeypatch.delenv("OMP_NUM_THREADS")
        assert 1 <= use_threads() <= (os.cpu_count() or 1)
    finally:
        torch.set_num_threads(before)
