"""The sets of pictures: names and where they lie, and how small ones are taken from whole ones."""

from __future__ import annotations

import lzma
import shutil
from dataclasses import dataclass
from pathlib import Path

from bowerbird.base.errors import NotFound, UnknownName, UsageError

IN_DATA = {"fashion": ("fashion-mnist", 32)}
DEMOS = {"icons-32": ("demo:icons", 32), "icons-64": ("demo:icons", 64)}
SPLIT = ("split.valid=0.1", "split.test=0.1")
MOST_HELD_OUT = 1000
"""Pictures that are held out beside a small set."""


@dataclass(frozen=True)
class PictureSet:
    """What `prepare` is given. With `small`, so many pictures of its most frequent class are learnt from."""

    source: str
    size: int | None = None
    small: int = 0


def sets_of(
    wanted: str | None, data: Path | None, size: int | None = None, small: int = 0
) -> dict[str, PictureSet]:
    """Sets by name, from a list of names and paths with commas; by default all that can be had.

    Args:
        size: of the pictures of paths; absent, `prepare` chooses.

    Raises:
        UsageError: a name or path is not known, needs `--data`, or stands there twice.
    """
    if wanted is None:
        wanted = ",".join([*(IN_DATA if data else ()), *DEMOS])
    found: dict[str, PictureSet] = {}
    for part in [part.strip() for part in wanted.split(",") if part.strip()]:
        name, source, side = _located(part, data, size)
        name = f"{name}-{small}-pictures" if small else name
        if name in found:
            raise UsageError(f"two sets are called `{name}`", hint="rename one of the folders")
        found[name] = PictureSet(source, side, small)
    if not found:
        raise UsageError("name at least one set", hint=f"--sets {','.join(DEMOS)}")
    return found


def _located(given: str, data: Path | None, size: int | None) -> tuple[str, str, int | None]:
    if given in DEMOS:
        return given, *DEMOS[given]
    if given in IN_DATA:
        folder, side = IN_DATA[given]
        if data is None:
            raise UsageError(
                f"the set `{given}` needs the folder it lies in", hint=f"--data DIR, with DIR/{folder}"
            )
        if not (data / folder).is_dir():
            raise NotFound(
                f"the set `{given}` is not there", where=data / folder, hint="--data DIR names its folder"
            )
        return given, str((data / folder).absolute()), side
    if Path(given).exists():
        return Path(given).stem, str(Path(given).absolute()), size
    if "/" in given or "." in given:
        raise NotFound(
            "there is no such folder or file", where=given, hint="a path of pictures, or a name of a set"
        )
    raise UnknownName("set", given, [*IN_DATA, *DEMOS])


def unpacked(source: str, into: Path) -> str:
    """The source; where it is a folder with IDX files packed by xz, a copy of it with these unpacked."""
    folder = Path(source)
    packed = list(folder.glob("*-ubyte.xz")) if folder.is_dir() else []
    if not packed:
        return source
    into.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*-ubyte*"):
        if path in packed:
            (into / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
        else:
            shutil.copyfile(path, into / path.name)
    return str(into)


def split_exactly(learnt: int, rest: int) -> tuple[int, list[str]]:
    """How many of `rest` pictures to hold out, and settings by which just `learnt` are left to learn from.

    A split is filled to nine tenths of its share, and a share is less than the whole.
    """
    held = min(rest, 8 * learnt, MOST_HELD_OUT)
    share = (held - 0.5) / 0.9 / (learnt + held)
    return held, [f"split.valid={share:.9f}", "split.test=0", "image.near_duplicates=false"]
