"""What every test may use: a workspace of its own, a tiny dataset, a tiny run, the command line in-process."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: two pools of threads on two cores slow each other down
os.environ.pop("BOWERBIRD_WORKSPACE", None)
os.environ.pop("BOWERBIRD_REGISTRY", None)

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TINY = ("batch_size=4", "length=16", "model.width=16", "model.embedding=8", "evaluate_every=4")


@dataclass(frozen=True)
class Ran:
    """One run of the command line."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def workspace(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of the test's own; nothing ever touches the user's."""
    root = tmp_path_factory.mktemp("workspace")
    monkeypatch.setenv("BOWERBIRD_WORKSPACE", str(root))
    return root


@pytest.fixture(autouse=True)
def _small_numbers_stay_numbers() -> Iterator[None]:
    """Training flushes denormal numbers for the whole process; the next test has them again."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def bowerbird(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command line, called in this process: `bowerbird("train", dataset, "--out", run)`."""
    from bowerbird.cli.main import main

    def run(*arguments: Any) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def poems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 small made-up poems, each a file."""
    folder = tmp_path_factory.mktemp("poems")
    things = ["sea", "stone", "lark", "rain", "lamp", "door", "field", "salt"]
    for number in range(40):
        first, second, third = (things[(number * step + step) % 8] for step in (1, 3, 5))
        lines = [
            f"the {first} was under the {second}",
            f"and {number} times the {third} turned",
            "",
            "so be it",
        ]
        (folder / f"poem{number:02}.txt").write_text("\n".join(lines * 3) + f"\n{first * (number % 5)}\n")
    return folder


@pytest.fixture(scope="session")
def tiny_dataset(poems: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset prepared from `poems`. Not to be changed: copy it first."""
    from bowerbird.data.prepare import PrepareConfig, prepare

    out = tmp_path_factory.mktemp("datasets") / "tiny"
    prepare([str(poems)], out, PrepareConfig.model_validate({"clean": {"near_duplicates": False}}))
    return out


@pytest.fixture(scope="session")
def tiny_run(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 steps over `tiny_dataset`. Not to be changed: copy it first."""
    from bowerbird import lifecycle

    out = tmp_path_factory.mktemp("runs") / "tiny"
    lifecycle.train(tiny_dataset, out, steps=12, settings=TINY)
    return out


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database. MLflow makes one in seconds, so all workers of a test run share it; copy it."""
    from filelock import FileLock

    from bowerbird.store.registry.mlflow_client import connect

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    path = shared / "empty-mlflow" / "mlflow.db"
    with FileLock(shared / "empty-mlflow.lock"):
        if not path.exists():
            connect(f"sqlite:///{path}", path)
    return path


@pytest.fixture
def mlflow_space(empty_mlflow: Path) -> Callable[[Path], Path]:
    """Makes a workspace folder with an empty MLflow database in it."""

    def make(root: Path) -> Path:
        root.mkdir(parents=True, mode=0o700)
        shutil.copy(empty_mlflow, root / "mlflow.db")
        return root

    return make
