"""What JSON Schema says of a value, for as much of it as `/openapi.json` uses.

An unknown keyword fails loudly, so that no schema passes because nobody looked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

_SAYS_NOTHING = {"title", "description", "default", "$defs"}
_TYPES = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": lambda value: _is_number(value),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}


class Schemas:
    """The forms of a document, by which values are checked.

    Args:
        document: that `#/...` in a `$ref` is looked up in.
    """

    def __init__(self, document: dict[str, Any]):
        self.document = document

    def at(self, reference: str) -> Any:
        """What a `$ref` stands for."""
        assert reference.startswith("#/")
        found = self.document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return found

    def allow(self, value: Any, form: Any) -> bool:
        return not self.faults(value, form)

    def faults(self, value: Any, form: Any, place: str = "$") -> list[str]:
        """What is wrong with a value; nothing where it is as the form says."""
        if isinstance(form, bool):
            return [] if form else [f"{place} may not be"]
        found: list[str] = []
        for keyword, wanted in form.items():
            if keyword in _SAYS_NOTHING or keyword in ("then", "else"):
                continue
            check = getattr(self, f"_{keyword.removeprefix('$')}", None)
            assert check is not None, f"the keyword {keyword} is not known here"
            found += [f"{place}: {fault}" for fault in check(value, wanted, form)]
        return found

    def _ref(self, value: Any, reference: str, form: Any) -> Iterable[str]:
        return self.faults(value, self.at(reference))

    def _anyOf(self, value: Any, forms: list[Any], form: Any) -> Iterable[str]:  # noqa: N802
        tried = [self.faults(value, one) for one in forms]
        return [] if [] in tried else [f"none of {len(forms)} fits: {tried}"]

    def _allOf(self, value: Any, forms: list[Any], form: Any) -> Iterable[str]:  # noqa: N802
        return [fault for one in forms for fault in self.faults(value, one)]

    def _not(self, value: Any, wrong: Any, form: Any) -> Iterable[str]:
        return ["is what it may not be"] if self.allow(value, wrong) else []

    def _if(self, value: Any, condition: Any, form: Any) -> Iterable[str]:
        branch = "then" if self.allow(value, condition) else "else"
        return self.faults(value, form.get(branch, True))

    def _type(self, value: Any, name: str, form: Any) -> Iterable[str]:
        return [] if _TYPES[name](value) else [f"is no {name}"]

    def _enum(self, value: Any, choices: list[Any], form: Any) -> Iterable[str]:
        return [] if any(_same(value, choice) for choice in choices) else [f"is none of {choices}"]

    def _const(self, value: Any, wanted: Any, form: Any) -> Iterable[str]:
        return [] if _same(value, wanted) else [f"is not {wanted!r}"]

    def _minimum(self, value: Any, least: float, form: Any) -> Iterable[str]:
        return [f"is under {least}"] if _is_number(value) and value < least else []

    def _maximum(self, value: Any, most: float, form: Any) -> Iterable[str]:
        return [f"is over {most}"] if _is_number(value) and value > most else []

    def _exclusiveMinimum(self, value: Any, bound: float, form: Any) -> Iterable[str]:  # noqa: N802
        return [f"is not over {bound}"] if _is_number(value) and value <= bound else []

    def _exclusiveMaximum(self, value: Any, bound: float, form: Any) -> Iterable[str]:  # noqa: N802
        return [f"is not under {bound}"] if _is_number(value) and value >= bound else []

    def _minLength(self, value: Any, least: int, form: Any) -> Iterable[str]:  # noqa: N802
        return ["is too short"] if isinstance(value, str) and len(value) < least else []

    def _maxLength(self, value: Any, most: int, form: Any) -> Iterable[str]:  # noqa: N802
        return ["is too long"] if isinstance(value, str) and len(value) > most else []

    def _pattern(self, value: Any, pattern: str, form: Any) -> Iterable[str]:
        ends = re.sub(r"\$$", r"\\Z", pattern)  # in a schema `$` is the end, and no line's
        return ["is not in its form"] if isinstance(value, str) and not re.search(ends, value) else []

    def _items(self, value: Any, item: Any, form: Any) -> Iterator[str]:
        for index, one in enumerate(value if isinstance(value, list) else []):
            yield from self.faults(one, item, str(index))

    def _minItems(self, value: Any, least: int, form: Any) -> Iterable[str]:  # noqa: N802
        return ["has too few"] if isinstance(value, list) and len(value) < least else []

    def _maxItems(self, value: Any, most: int, form: Any) -> Iterable[str]:  # noqa: N802
        return ["has too many"] if isinstance(value, list) and len(value) > most else []

    def _properties(self, value: Any, properties: dict[str, Any], form: Any) -> Iterator[str]:
        for name, one in value.items() if isinstance(value, dict) else ():
            if name in properties:
                yield from self.faults(one, properties[name], name)

    def _required(self, value: Any, names: list[str], form: Any) -> Iterable[str]:
        return [f"lacks {name}" for name in names if isinstance(value, dict) and name not in value]

    def _additionalProperties(self, value: Any, others: Any, form: Any) -> Iterator[str]:  # noqa: N802
        for name, one in value.items() if isinstance(value, dict) else ():
            if name not in form.get("properties", {}):
                yield from self.faults(one, others, name)

    def _propertyNames(self, value: Any, names: Any, form: Any) -> Iterator[str]:  # noqa: N802
        for name in value if isinstance(value, dict) else ():
            yield from self.faults(name, names, f"the name {name[:40]}")

    def _maxProperties(self, value: Any, most: int, form: Any) -> Iterable[str]:  # noqa: N802
        return ["has too many"] if isinstance(value, dict) and len(value) > most else []


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _same(one: Any, other: Any) -> bool:
    """In JSON true is no 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
