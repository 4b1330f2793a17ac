"""The benchmark of crowded registries, small: two processes publish at once, on every registry."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import registry as bench
from bowerbird.store.registry import REGISTRIES


@pytest.mark.parametrize("registry", REGISTRIES)
def test_two_processes_publishing_at_once_lose_share_and_damage_nothing(
    registry: str, mlflow_space: Callable[[Path], Path], tmp_path: Path
) -> None:
    found = bench.race(registry, mlflow_space(tmp_path / "space"), processes=2, each=6)
    assert found["distinct_versions"] == 12
    assert bench.whole(found), found


def test_the_benchmark_sees_what_is_lost(tmp_path: Path) -> None:
    found = bench.race("folder", tmp_path, processes=1, each=3)
    assert bench.whole(found)
    shutil.rmtree(tmp_path / "registry" / "crowded" / "2")
    counted = bench.outcome("folder", tmp_path, [(1, "sha256:x"), (2, "sha256:y"), (3, "sha256:z")])
    assert not bench.whole({**found, **counted})
    assert not counted["numbers_are_1_to_n"]
    assert not counted["each_as_its_publisher_was_told"]
    assert counted["bundles_intact"] == 2
