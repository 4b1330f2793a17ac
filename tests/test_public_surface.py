"""The public surface is `bowerbird.__all__`, and importing the package is quick and quiet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bowerbird


def test_every_public_name_is_there_and_documented() -> None:
    for name in bowerbird.__all__:
        if name != "__version__":
            assert (getattr(bowerbird, name).__doc__ or "").strip(), name


def test_the_contract_s_functions_are_public() -> None:
    assert {"prepare", "train", "sweep", "load", "evaluate", "publish"} <= set(bowerbird.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    assert not hasattr(bowerbird, "trian")


def test_importing_the_package_loads_no_torch_and_prints_nothing() -> None:
    code = "import bowerbird, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("command", [["versions"], ["prepare", "POEM", "--out", "OUT"]])
def test_commands_that_do_not_compute_load_no_torch(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_text("the sea\n" * 50)
    places = {"POEM": str(tmp_path / "poem.txt"), "OUT": str(tmp_path / "out")}
    arguments = [places.get(part, part) for part in command]
    code = "import sys; from bowerbird.cli.main import main; code = main(); sys.exit(code or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
