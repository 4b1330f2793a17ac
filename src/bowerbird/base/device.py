"""The machine's side of a run: device, threads, precision, and noise that depends on (seed, step) alone."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import torch

from bowerbird.base.errors import UsageError

Precision = Literal["float32", "bfloat16"]


def pick_device(name: str | None = None) -> torch.device:
    """The named device, or CUDA where there is one, or the CPU.

    Raises:
        UsageError: the named device is not on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"there is no device called `{name}`", hint="cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("this machine has no CUDA device that torch can use", hint="leave `device` out")
    return device


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that this machine has no instructions for.

    Raises:
        UsageError: bfloat16 on a processor without it, where some kernels fail and the others are slower.
    """
    if precision == "bfloat16" and device.type == "cpu" and not bfloat16_on_cpu():
        raise UsageError("this processor cannot compute in bfloat16", hint="leave `precision` out")


def bfloat16_on_cpu() -> bool:
    """Whether torch's kernels can multiply bfloat16 on this processor."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def use_threads(count: int | None = None) -> int:
    """Compute with `count` threads, or one for each processor this process may use."""
    if count is None:
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = int(os.environ.get("OMP_NUM_THREADS") or allowed)
    # Gradients that fade through a long window become denormal numbers, which processors handle a
    # hundred times slower. Set before the first product, so that the worker threads inherit it.
    torch.set_flush_denormal(True)
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    return count


def mixed_seed(*parts: int) -> int:
    """One 63-bit seed from several numbers, the same everywhere."""
    words = np.random.SeedSequence([part % (1 << 64) for part in parts]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def seed_noise(*parts: int) -> None:
    """Make what torch draws next a function of these numbers, so that no generator state needs keeping."""
    torch.manual_seed(mixed_seed(*parts))
