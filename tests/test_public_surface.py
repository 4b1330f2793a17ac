"""The public surface is `bowerbird.__all__`, and importing the package is quick and quiet."""

from __future__ import annotations

import subprocess
import sys

import bowerbird


def test_every_public_name_is_there_and_documented() -> None:
    for name in bowerbird.__all__:
        if name != "__version__":
            assert (getattr(bowerbird, name).__doc__ or "").strip(), name


def test_the_contract_s_functions_are_public() -> None:
    assert {"prepare", "train", "load", "evaluate", "publish"} <= set(bowerbird.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    assert not hasattr(bowerbird, "trian")


def test_importing_the_package_loads_no_torch_and_prints_nothing() -> None:
    code = "import bowerbird, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
