"""Pictures on their way into a dataset: brought to one size, kept in one temporary file, duplicates found."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.classes import Classes
from bowerbird.data.collect import copies
from bowerbird.data.image_config import LARGEST_CHOSEN, SIZES, ImageConfig
from bowerbird.data.item import Item, Rejected
from bowerbird.data.ledger import Ledger, Verdict
from bowerbird.data.near_pictures import resembling
from bowerbird.data.picture import BLANK, Picture, fitted, is_blank, on_background

HELD_PICTURES = 500
HELD_BYTES = 256 << 20
"""So many pictures are held until the size of all is chosen from them."""

_OPAQUE = 255


class PictureSpool(AbstractContextManager["PictureSpool"]):
    """The usable pictures in the order they came, (n, size, size, channels). Closing it deletes the file."""

    def __init__(self, folder: Path, config: ImageConfig, classes: Classes, named: Collection[str] = ()):
        """`named` are the origins whose rejections the ledger lists apart."""
        self.size: int | None = config.size
        """The side of the pictures; None until it is chosen."""
        self.shorter_sides: list[int] = []
        """Of the first pictures, as they are read."""
        self.is_opaque = True
        """Whether nothing in any picture is transparent."""
        self.is_grey = True
        """Whether no picture has colours."""
        self.classes = classes
        self.ledger = Ledger(folder, named)
        self._config = config
        self._held: list[tuple[Item, Picture]] = []
        self._held_bytes = 0
        self._digests = bytearray()
        self._path = folder / "pictures.tmp"
        self._file = self._path.open("wb")

    def __exit__(self, *failure: object) -> None:
        self.ledger.close()
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def stored_channels(self) -> int:
        return 4 if self._config.alpha == "keep" else 3

    def add(self, found: Item | Rejected) -> None:
        """A picture, which is brought to size as soon as that is known, or why there is none."""
        if isinstance(found, Rejected):
            self.ledger.reject(found)
            return
        picture = self._with_alpha(found.content)
        if is_blank(picture):
            self.ledger.reject(Rejected(found.origin, BLANK))
            return
        if len(self.shorter_sides) < HELD_PICTURES:
            self.shorter_sides.append(min(picture.shape[:2]))
        if self.size is not None:
            self._store(found, picture)
            return
        self._held.append((found, picture))
        self._held_bytes += picture.nbytes
        if len(self._held) >= HELD_PICTURES or self._held_bytes >= HELD_BYTES:
            self.finish()

    def finish(self) -> None:
        """Choose the size if it is not known, and store what was held for that."""
        if self.size is None and self._held:
            self.size = chosen_size(self.shorter_sides)
        for item, picture in self._held:
            self._store(item, picture)
        self._held.clear()
        self._file.flush()

    def _with_alpha(self, picture: Picture) -> Picture:
        if self._config.alpha == "composite":
            return on_background(picture, self._config.background)
        if picture.shape[2] == 4:
            return picture
        opaque = np.full((*picture.shape[:2], 1), _OPAQUE, np.uint8)
        return np.concatenate([picture, opaque], axis=2)

    def _store(self, item: Item, picture: Picture) -> None:
        assert self.size is not None
        made = fitted(picture, self.size, self._config.fit, self._config.background)
        if is_blank(made):
            self.ledger.reject(Rejected(item.origin, f"{BLANK}, at {self.size} x {self.size} pixels"))
            return
        content = made.tobytes()
        digest = hashlib.sha256(content)
        self._file.write(content)
        self._digests += digest.digest()[:16]
        self.is_opaque = self.is_opaque and (made.shape[2] == 3 or bool((made[..., 3] == _OPAQUE).all()))
        self.is_grey = self.is_grey and bool((made[..., :1] == made[..., 1:3]).all())
        self.ledger.keep(item.origin, f"sha256:{digest.hexdigest()}", item.licence)
        self.classes.add(item.origin, item.label)

    def pictures(self) -> NDArray[np.uint8]:
        """All of them, mapped from disk; without channels that say nothing: opacity of 1, colours of what is grey."""
        shape = (len(self), self.size or 0, self.size or 0, self.stored_channels)
        stored = np.memmap(self._path, np.uint8, "r", shape=shape)
        if not self.is_opaque:
            return stored
        return stored[..., :1] if self.is_grey and self._config.colours == "auto" else stored[..., :3]

    def duplicates(self) -> dict[int, Verdict]:
        """Pictures that repeat an earlier one, exactly or nearly, with the one they repeat."""
        same = copies(bytes(self._digests))
        verdicts: dict[int, Verdict] = {
            picture: (first, "the same as {origin}") for picture, first in same.items()
        }
        if self._config.near_duplicates:
            pictures = self.pictures()
            left_out = np.zeros(len(self), np.bool_)
            left_out[list(same)] = True

            def colours(numbers: NDArray[np.int64]) -> Picture:
                chosen = pictures[numbers]
                grey = chosen.shape[-1] == 1
                return chosen.repeat(3, axis=-1) if grey else on_background(chosen, self._config.background)

            for picture, (first, difference) in resembling(colours, left_out).items():
                verdicts[picture] = (
                    first,
                    f"nearly the same as {{origin}} (colours differ by {difference:.1f} of 255)",
                )
        return verdicts


def chosen_size(shorter_sides: Iterable[int]) -> int:
    """The size nearest in ratio to the median shorter side, in pixels, at most `LARGEST_CHOSEN`."""
    median = float(np.median(list(shorter_sides)))
    return min(
        (size for size in SIZES if size <= LARGEST_CHOSEN), key=lambda size: abs(math.log(size / median))
    )
