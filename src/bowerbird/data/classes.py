"""Which class a picture is of: what its source says, or the name of the folder that it lies in."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Sequence
from itertools import takewhile

_SEPARATOR = re.compile(r"/|(?<=\.zip)#|(?<=\.tar)#|(?<=\.tar\.gz)#|(?<=\.tgz)#", re.IGNORECASE)
_SPLITS = frozenset(("train", "training", "test", "testing", "val", "valid", "validation", "dev"))
_ROW = re.compile(r".*#\d+")
"""A row of a table is in no folder."""

Folder = tuple[str, ...]
Place = tuple[str | None, Folder]
"""A source and the folders down from it; (None, (class,)) where the class was told."""


class Classes:
    """Remembers where pictures came from, and tells their classes once all are known.

    Folders are classes where two or more folders of a source have pictures, and none of these has another
    one in it. A class has the folder's own name; where that is the name of several, the names of those
    around it too, but for what all lie in and for `train`, `test` and the like.
    """

    def __init__(self, sources: Sequence[str]):
        self._roots = sorted((os.path.expanduser(source) for source in sources), key=len, reverse=True)
        self._keys: dict[Place, int] = {}
        self._pictures = array("q")
        """The number of its place in `_keys`, for each picture."""

    def add(self, origin: str, label: str | None) -> None:
        """The next picture, with the class that its source tells, if it tells one."""
        key: Place = (None, (label,)) if label else self._place(origin)
        self._pictures.append(self._keys.setdefault(key, len(self._keys)))

    def __len__(self) -> int:
        return len(self._pictures)

    def of_all(self) -> list[str | None]:
        """The class of every picture in the order they were added."""
        names = {self._keys[key]: name for key, name in self._named().items()}
        return [names.get(key) for key in self._pictures]

    def _place(self, origin: str) -> Place:
        if not _ROW.fullmatch(origin):
            for root in self._roots:
                rest = origin.removeprefix(root)
                if rest and rest != origin and (rest[0] in "/#" or root.endswith("/")):
                    parts = _SEPARATOR.split(rest.lstrip("/#").replace("\\", "/"))
                    return root, tuple(part for part in parts[:-1] if part not in ("", "."))
        return None, ()

    def _named(self) -> dict[Place, str]:
        named: dict[Place, str] = {}
        folders: dict[str, set[Folder]] = {}
        for root, folder in self._keys:
            if root is not None:
                folders.setdefault(root, set()).add(folder)
            elif folder:
                named[None, folder] = folder[0]
        for root, inside in folders.items():
            named |= {(root, folder): name for folder, name in _class_names(inside).items()}
        return named


def _class_names(folders: set[Folder]) -> dict[Folder, str]:
    """The class that each folder with pictures is; empty where they are none."""
    if any(folder[:depth] in folders for folder in folders for depth in range(len(folder))):
        return {}  # pictures beside a folder of pictures
    own = {folder: folder[-1] for folder in folders if folder}
    parents = zip(*(folder[:-1] for folder in folders), strict=False)
    around = sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, parents))
    paths = {
        folder: "/".join([part for part in folder[around:-1] if part.lower() not in _SPLITS] + [name])
        for folder, name in own.items()
    }
    names = paths if len(set(paths.values())) > len(set(own.values())) else own
    told = set(names.values())
    return names if len(told) > 1 and not {name.lower() for name in told} <= _SPLITS else {}


def in_order(names: set[str]) -> list[str]:
    """Class names sorted; numbers by their size."""
    return sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))
