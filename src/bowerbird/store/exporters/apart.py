"""A format's own writer or loader, run in a process of its own: nothing that it sets or imports reaches ours."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, BinaryIO, cast

from numpy.typing import NDArray

from bowerbird.base.errors import BowerbirdError
from bowerbird.store.exporters.exporter import Runner
from bowerbird.store.exporters.frames import receive, send

_PATIENCE_SECONDS = 30.0


def run(command: Sequence[str], settings: Mapping[str, str], what: str) -> None:
    """Run a command to its end, with these environment variables set.

    Raises:
        BowerbirdError: it failed; `what` says what could not be done, the hint what it said last.
    """
    done = subprocess.run(
        command,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise BowerbirdError(what, hint=_last_words(done.stdout))


@contextmanager
def running(command: Sequence[str], settings: Mapping[str, str], what: str) -> Iterator[Runner]:
    """A process that runs an exported model for as long as the block lasts (see `frames.serve`).

    Raises:
        BowerbirdError: it ended early; as of `run`.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            env={**os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        to, back = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)

        def step(given: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
            try:
                send(to, given)
                found = receive(back)
            except BrokenPipeError:
                found = None
            if found is None:
                _ended(process)
                raise BowerbirdError(what, hint=_read(said))
            return found

        try:
            yield step
        finally:
            with suppress(BrokenPipeError):
                to.close()
            _ended(process)
            back.close()


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(said: IO[bytes]) -> str:
    said.seek(0)
    return _last_words(said.read())


def _last_words(said: bytes) -> str:
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return "it said: " + (lines[-1].strip() if lines else "nothing")
