"""Packages that only this benchmark needs, each in an environment of its own, made when it is first asked for.

They stay out of the environment of ours, whose torch nothing may move. What the plain server needs beside them (torch,
FastAPI, uvicorn) it takes from there, so that both servers stand on the same versions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from bowerbird.base.errors import BowerbirdError, storage_errors

_SECONDS = 900


@dataclass(frozen=True)
class Needed:
    """What is to be installed, and whether what we have is seen from there too."""

    name: str
    version: str
    beside_ours: bool

    @property
    def home(self) -> Path:
        ours = f"-{sys.version_info[0]}.{sys.version_info[1]}"
        return Path(platformdirs.user_cache_dir("bowerbird")) / f"bench-{self.name}-{self.version}{ours}"


TRANSFORMERS = Needed("transformers", "5.23.0", beside_ours=True)
SCHEMATHESIS = Needed("schemathesis", "4.32.5", beside_ours=False)


def interpreter(needed: Needed) -> Path:
    """The Python that has it; its environment is made whole or not at all if it is not there.

    Raises:
        BowerbirdError: it could not be installed.
    """
    home = needed.home
    if not _python(home).exists():
        with storage_errors(home):
            home.parent.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=home.parent))
        try:
            _install(needed, building)
            with storage_errors(home):
                if not home.exists():  # else another process was as quick
                    os.rename(building, home)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    if needed.beside_ours:
        see_ours(home)
    return _python(home)


def see_ours(home: Path) -> None:
    """Let an environment see the packages of the one that runs now, behind its own."""
    [own] = home.glob("lib/python*/site-packages")
    (own / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")


def _install(needed: Needed, building: Path) -> None:
    print(f"installing {needed.name} {needed.version} for this benchmark, once", file=sys.stderr, flush=True)
    with storage_errors(building):
        venv.create(building, with_pip=False, symlinks=True)
    if needed.beside_ours:
        see_ours(building)
    pip = [sys.executable, "-m", "pip", "--python", str(_python(building)), "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--retries", "1", "--timeout", "30", f"{needed.name}=={needed.version}"],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_REQUIRE_VIRTUALENV": "0"},
    )
    if done.returncode:
        told = done.stderr.strip().rpartition("\n")[2]
        raise BowerbirdError(
            f"{needed.name} {needed.version} could not be installed: {told}",
            where=needed.home,
            hint="check the network, or leave out what needs it: --contestants ours",
        )


def _python(home: Path) -> Path:
    return home / "bin" / "python"
