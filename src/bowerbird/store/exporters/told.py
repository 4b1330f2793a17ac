"""What exports tell of how to sample, and what goes into a file of ours where a format has room for one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from bowerbird.store.exporters.exporter import Exported

TOLD = "bowerbird.json"
"""The name of that file."""
TOKENS = 200
"""Tokens that the lines which show an export make."""
_SYMBOLS = "bowerbird.symbols"


@dataclass(frozen=True)
class Sampling:
    """Token numbers that sampling needs to know. The first token drawn is no end."""

    start: int
    ends: list[int]
    banned: list[int]


def told(exported: Exported) -> dict[str, Any]:
    """The metadata, and the text of each token."""
    metadata = {name: value for name, value in exported.metadata.items() if name != _SYMBOLS}
    return {"metadata": metadata, "symbols": list(exported.symbols)}


def sampling(exported: Exported) -> Sampling:
    start, ends, banned = (
        json.loads(exported.metadata.get(f"bowerbird.{name}", otherwise))
        for name, otherwise in (("start_token", "0"), ("end_tokens", "[0]"), ("banned_tokens", "[]"))
    )
    return Sampling(start, ends, banned)
