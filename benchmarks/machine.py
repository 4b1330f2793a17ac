"""The machine a benchmark ran on, and what it can do at most: products a second, bytes read a second."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_SIZE = 1024
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")


def describe() -> dict[str, Any]:
    """Processor, threads, libraries, commit and date, and the products a second that it can do at most."""
    name, flags = processor()
    return {
        "processor": name,
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "load_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "peak_flops": product_peaks(),
    }


def processor() -> tuple[str, set[str]]:
    """Its name and flags, as Linux tells them; elsewhere what Python knows and no flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = told.get("flags") or told.get("Features") or ""
    return told.get("model name") or platform.machine(), set(flags.split())


def commit() -> str:
    """The commit of this source, `+` where files were changed since; `unknown` outside a repository."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def product_peaks(seconds: float = 1.0) -> dict[str, float | None]:
    """Floating point operations a second of the largest common product, by precision; None where it fails."""
    peaks: dict[str, float | None] = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        try:
            one, other = (torch.randn(_SIZE, _SIZE, dtype=kind) for _ in range(2))
            peaks[name] = 2 * _SIZE**3 / best_seconds(lambda one=one, other=other: one @ other, seconds)
        except RuntimeError:
            peaks[name] = None
    return peaks


def read_bandwidth(size: int, threads: int, seconds: float = 0.5) -> float:
    """Bytes a second at which a buffer of `size` bytes is read again and again.

    The better of a sum and a product with a vector: each reads every byte once.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    columns = min(512, max(1, size // 4))
    table = torch.ones(max(1, size // 4 // columns), columns)
    vector = torch.ones(columns)
    fastest = min(best_seconds(table.sum, seconds), best_seconds(lambda: table @ vector, seconds))
    torch.set_num_threads(before)
    return table.numel() * 4 / fastest


def best_seconds(work: Callable[[], object], seconds: float) -> float:
    """The shortest time that `work` took, tried over and over for so many seconds."""
    work()
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best
