"""A shelf: a table of interchangeable parts that answers a wrong name with the right one."""

from __future__ import annotations

from typing import NoReturn, TypeVar

from bowerbird.base.errors import UnknownName

Part = TypeVar("Part")


class Shelf(dict[str, Part]):
    """A dict from name to part. Asking for a name it lacks raises `UnknownName`."""

    def __init__(self, noun: str, /, **parts: Part):
        super().__init__(**parts)
        self.noun = noun

    def __missing__(self, name: str) -> NoReturn:
        raise UnknownName(self.noun, name, self)
