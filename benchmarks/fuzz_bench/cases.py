"""One case: a copy of something sound, damaged, read, and looked at for what the reader did besides."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bowerbird.base.errors import BowerbirdError
from bowerbird.store.importers import hdf5
from fuzz_bench.damage import damage_file
from fuzz_bench.readers import Target

OUTCOMES = ("opened", "refused", "CRASHED", "HUNG", "WROTE OUTSIDE", "RAN")
"""The first two are good."""
GOOD = OUTCOMES[:2]
SECONDS = 20
"""A reader may take so long with a small file."""
TEMPORARY = "temporary"
"""Where a case may write what it takes away again."""
_RAN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "pty.spawn",
)
_HDF5_READER = [sys.executable, "-P", "-W", "ignore", str(Path(hdf5.__file__).with_name("hdf5_process.py"))]
"""What may be run: our own process that reads HDF5, started anew after a file has made its library crash."""
_CHANGED: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.symlink": ((1, 2),),
    "os.link": ((0, 2), (1, 3)),
    "os.truncate": ((0, None),),
    "shutil.rmtree": ((0, 1),),
}
"""Which of what an audit event tells are paths that change, each with the open folder that it begins in, if any."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Hung(BaseException):
    """The time for a case is over. No reader catches it by mistake."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    case: int
    outcome: str
    damage: str
    told: str
    """The error, or what was done that should not have been."""


class Watch:
    """Notes what a reader does to the machine: programs run, connections, files written outside of where it may."""

    def __init__(self) -> None:
        self.allowed: tuple[Path, ...] | None = None
        self.ran: list[str] = []
        self.wrote: list[str] = []

    def install(self) -> None:
        """For the rest of this process: such hooks cannot be taken away."""
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event in _RAN and not (event == "subprocess.Popen" and list(arguments[1]) == _HDF5_READER):
            self.ran.append(f"{event} {arguments!r}"[:200])
        elif event in _CHANGED:
            for path, begins in _CHANGED[event]:
                self._wrote(event, arguments[path], None if begins is None else arguments[begins])
        elif event == "open" and bool((arguments[2] or 0) & _WRITES):
            self._wrote(event, arguments[0], None)

    def _wrote(self, event: str, path: Any, folder: int | None) -> None:
        if isinstance(path, int):
            return  # something opened before
        begin = os.getcwd() if folder is None or folder < 0 else os.readlink(f"/proc/self/fd/{folder}")
        place = Path(os.path.normpath(os.path.join(begin, os.fsdecode(path))))
        allowed = self.allowed or ()
        if place != Path(os.devnull) and not any(place.is_relative_to(one) for one in allowed):
            self.wrote.append(f"{event} {place}"[:200])


NOBODY = Watch()
"""Watches nothing."""


def judge(
    target: Target, sound: Sequence[Path], place: Path, seed: int, case: int, watch: Watch = NOBODY
) -> Outcome:
    """Damage a copy of one of the sound files and read it.

    `place` is a folder for this alone: the copy is made in `place/copy`, what is read may be written to `place/out`,
    and whatever else changes in it counts as written outside. The case's number and the seed decide everything.
    """
    chance = random.Random(f"{target.name} {seed} {case}")
    source = sound[case % len(sound)]
    for folder in ("copy", "out", TEMPORARY):
        shutil.rmtree(place / folder, ignore_errors=True)
        (place / folder).mkdir(parents=True)
    secret = place / "secret"
    secret.write_bytes(b'{"format": 1, "private": "words"}')
    copy = place / "copy" / source.name
    if source.is_dir():
        shutil.copytree(source, copy)
    else:
        shutil.copyfile(source, copy)
    damage = _damage(target, copy, secret, chance)
    before = _listed(place)
    watch.ran, watch.wrote, watch.allowed = [], [], (place / "out", place / TEMPORARY)
    try:
        with _limit(SECONDS):
            target.read(copy, place / "out" / "made")
        outcome, told = "opened", ""
    except BowerbirdError as error:
        outcome, told = "refused", f"{type(error).__name__}: {error.what}"
    except Hung:
        outcome, told = "HUNG", f"more than {SECONDS} s"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of compiled code is no Exception
        outcome, told = "CRASHED", f"{type(error).__name__}: {error}"[:300]
    finally:
        watch.allowed = None
    left = [*(place / TEMPORARY).iterdir(), *((place / "out").iterdir() if outcome != "opened" else [])]
    wrote = [*watch.wrote, *sorted(str(path) for path in before ^ _listed(place)), *map(str, left)]
    if watch.ran:
        outcome, told = "RAN", "; ".join(watch.ran)
    elif wrote:
        outcome, told = "WROTE OUTSIDE", "; ".join(wrote)
    return Outcome(case, outcome, damage, told)


def _damage(target: Target, copy: Path, secret: Path, chance: random.Random) -> str:
    files = sorted(path for path in copy.rglob("*") if path.is_file()) if copy.is_dir() else [copy]
    files = [path for path in files if path.name not in target.spared]
    ways = []
    for path in chance.sample(files, min(len(files), chance.choice([1, 1, 1, 2]))):
        way = damage_file(path, secret, chance)
        ways.append(f"{path.relative_to(copy.parent)}: {way}")
    if chance.random() < 0.6:
        target.mend(copy)
        ways.append("sealed again")
    return ", ".join(ways)


def _listed(place: Path) -> set[tuple[str, int, int]]:
    """Everything in a folder but what may be written: name, size and time of its last change."""
    found = set()
    for path in place.rglob("*"):
        if not any(path.is_relative_to(place / free) for free in ("out", TEMPORARY)):
            status = path.lstat()
            folder = path.is_dir() and not path.is_symlink()
            found.add((str(path.relative_to(place)), 0 if folder else status.st_size, status.st_mtime_ns))
    return found


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    """Raise `Hung` after so long, in whatever Python code is at work then."""

    def over(number: int, frame: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    found = Counter(one.outcome for one in outcomes)
    return {name: found[name] for name in OUTCOMES}
