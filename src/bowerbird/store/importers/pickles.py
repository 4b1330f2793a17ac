"""What the pickles in a file would do, found out by picklescan, which reads them without running them."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bowerbird.base.errors import BowerbirdError, CorruptFile, MissingExtra, NotFound, Refused
from bowerbird.store.importers.archive import opened

_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Asked:
    """The names that pickles ask for, as `module.name`."""

    known: tuple[str, ...]
    """Those that files of weights need."""
    other: tuple[str, ...]


def scan(path: Path) -> Asked:
    """All names that the pickles in a file of PyTorch's, of either of its formats, ask for.

    Raises:
        NotFound: there is no such file.
        Refused: picklescan knows some of them as dangerous, or it is a zip bomb.
        CorruptFile: there is no pickle in it that could be read.
        MissingExtra: picklescan is not installed.
    """
    try:
        from picklescan.scanner import SafetyLevel, scan_bytes
    except ImportError as error:
        raise MissingExtra("reading .pth files", "security", instead="convert it to .safetensors") from error
    try:
        data: io.BufferedIOBase = path.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound("this file is not there", where=path) from error
    with data, _quiet():
        if data.peek(4)[:4] == _ZIP:  # type: ignore[attr-defined]
            with opened(path):
                pass
        else:
            data = io.BytesIO(data.read())  # what a pickle claims to hold is then bounded by what is there
        try:
            found = scan_bytes(data, str(path), ".pth")
        except BowerbirdError:
            raise
        except (
            Exception
        ) as error:  # picklescan lets through whatever a broken pickle or archive gives rise to
            raise CorruptFile(f"this file is damaged: {error}", where=path) from error
    named = {level: sorted({f"{one.module}.{one.name}" for one in found.globals if one.safety is level})
             for level in SafetyLevel}  # fmt: skip
    if named[SafetyLevel.Dangerous]:
        raise Refused(
            f"this file would run code when it is opened: it asks for {_listed(named[SafetyLevel.Dangerous])}",
            where=path,
            hint="do not open it with anything; ask its maker for .safetensors",
        )
    return Asked(tuple(named[SafetyLevel.Innocuous]), tuple(named[SafetyLevel.Suspicious]))


def more_than_weights(asked: Asked, path: Path) -> Refused:
    """What is said of a file whose pickles ask for things that are not known to be harmless."""
    return Refused(
        f"this file holds more than weights: opening it would run {_listed(list(asked.other))}",
        where=path,
        hint="save the weights alone, as torch.save(model.state_dict(), PATH), or as .safetensors",
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(name[:100] for name in names[:6]) + more


@contextmanager
def _quiet() -> Iterator[None]:
    """Without picklescan's own lines of log: what it finds is told once, in the error."""
    logger = logging.getLogger("picklescan")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
