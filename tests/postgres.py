"""A real PostgreSQL server of the test's own: Debian's package, a folder in /tmp, a socket and no port."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER = "postgres"
"""Of Debian's package: PostgreSQL refuses to run as root."""


@dataclass
class Server:
    """One that runs, or was stopped and may be started again."""

    programs: Path
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://bowerbird@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """An empty database; its URL."""
        name = f"t{secrets.token_hex(6)}"
        command = [str(self.programs / "createdb"), "-h", str(self.folder), "-U", "bowerbird", name]
        subprocess.run(command, check=True, capture_output=True)
        return self.url_of(name)

    def start(self) -> None:
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", str(self.folder)]
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *options]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **_somebody())
        ready = [str(self.programs / "pg_isready"), "-q", "-h", str(self.folder), "-U", "bowerbird"]
        until = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < until, "PostgreSQL does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        """At once: whoever is connected is sent away."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
            self.process = None


@contextmanager
def running_postgres() -> Iterator[Server]:
    """A server until the block ends. Where there is none, the package is installed if that can be."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="bb-pg-", dir="/tmp"))  # a socket's path has 107 characters at most
    server = Server(programs, folder)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
        (folder / "log").touch()
        made = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "bowerbird", "-A", "trust", "-N"]
        subprocess.run(made, check=True, capture_output=True, **_somebody())
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    found = _installed()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "postgresql"]):
            subprocess.run(["apt-get", "-q", *command], env=quiet, check=False, capture_output=True)
        found = _installed()
    if found is None:
        pytest.skip("PostgreSQL is not here and cannot be installed: apt-get install postgresql")
    return found


def _installed() -> Path | None:
    on_path = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    places += [Path(on_path).resolve().parent] if on_path else []
    needed = ("initdb", "postgres", "pg_isready", "createdb")
    return next(
        (place for place in reversed(places) if all((place / name).exists() for name in needed)), None
    )


def _somebody() -> dict[str, object]:
    """Runs a process as the package's user, where this one is root."""
    if os.geteuid() != 0:
        return {}
    return {"user": USER, "group": USER, "extra_groups": [], "cwd": "/tmp"}
