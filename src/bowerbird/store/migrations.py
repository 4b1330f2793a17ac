"""Older formats brought up to date: for each format number, the change that makes its record the next one's.

A record is migrated in memory when it is read, after its seal was checked, and keeps its digest: a bundle is
never edited, and what it is called by stays the same. To raise a format by one, add one function to its table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Record = dict[str, Any]
Migration = Callable[[Record], Record]

BUNDLES: Mapping[int, Migration] = {}
"""Of `bundle.json`."""
CHECKPOINTS: Mapping[int, Migration] = {}
"""Of `checkpoint.json`."""


def migrated(record: Record, known: int, steps: Mapping[int, Migration]) -> Record:
    """The record in format `known`; its own number says where to begin, and its digest is kept."""
    digest = record.get("digest")
    for number in range(record["format"], known):
        record = {**steps[number](dict(record)), "format": number + 1, "digest": digest}
    return record
