"""Which column of a table holds the text: the one named, else one with a telling name, else the longest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bowerbird.base.errors import nearest
from bowerbird.data.sources.source import Unusable

SAMPLE_ROWS = 200
SAMPLE_CHARACTERS = 4 << 20
"""How many rows, and of what size together, are looked at to find the text column."""

_TELLING = (
    *("text", "content", "body", "poem", "lyrics", "story", "article", "document", "message"),
    *("sentence", "quote", "lines", "verse", "review", "comment", "transcript", "description"),
)


def text_column(rows: Sequence[Mapping[str, Any]], wanted: str | None) -> str:
    """The name of the column to read, judged by the first rows.

    Raises:
        Unusable: the wanted column is not there, or no column holds text.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if isinstance(name, str)))
    if wanted is not None:
        if wanted in names:
            return wanted
        near = nearest(wanted, names)
        meant = f"; did you mean `{near}`?" if near else f": there are {', '.join(names[:10])}"
        raise Unusable(f"there is no column `{wanted}`{meant}")
    totals = {name: sum(_length(row.get(name)) for row in rows) for name in names}
    totals = {name: total for name, total in totals.items() if total}
    if not totals:
        raise Unusable("no column holds text")
    by_name = {name.strip().lower(): name for name in reversed(totals)}
    telling = next((by_name[name] for name in _TELLING if name in by_name), None)
    return telling or max(totals, key=lambda name: totals[name])


def _length(value: Any) -> int:
    """Characters of a text; numbers written as text count nothing."""
    if not isinstance(value, str):
        return 0
    try:
        float(value)
    except ValueError:
        return len(value.strip())
    return 0
