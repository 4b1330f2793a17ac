"""What workers do in the tests of their supervisor. Imports little: each is a process that starts anew."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bowerbird.base.errors import NotFound

Ready = Callable[[Any], None]


def _until_sigterm() -> threading.Event:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    return stopped


def wait(folder: Path, *, on_ready: Ready) -> None:
    """Leave a file of its process id, and work until SIGTERM."""
    stopped = _until_sigterm()
    (folder / str(os.getpid())).touch()
    on_ready(os.getpid())
    while not stopped.wait(0.05):
        pass


def wait_unless(folder: Path, *, on_ready: Ready) -> None:
    """As `wait`, but where a file `broken` is there, it cannot start."""
    if (folder / "broken").exists():
        raise NotFound("there is no model", where="models/poems", hint="publish it")
    wait(folder, on_ready=on_ready)


def fail(folder: Path, *, on_ready: Ready) -> None:
    raise NotFound("there is no model", where="models/poems", hint="publish it")


def crash(folder: Path, *, on_ready: Ready) -> None:
    sys.exit(7)


def never_end(folder: Path, *, on_ready: Ready) -> None:
    """Take no notice of SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / str(os.getpid())).touch()
    on_ready(os.getpid())
    threading.Event().wait()


def answer_one_at_a_time(bound: socket.socket, *, on_ready: Ready) -> None:
    """Tell whoever connects the process id, and keep with him until he leaves."""
    stopped = _until_sigterm()
    bound.settimeout(0.05)
    on_ready(os.getpid())
    while not stopped.is_set():
        try:
            line, _ = bound.accept()
        except TimeoutError:
            continue
        with line:
            line.sendall(f"{os.getpid()}\n".encode())
            line.recv(1)
    bound.close()
