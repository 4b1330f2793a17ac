"""The ledger of a dataset: one line per source item saying what became of it and why."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bowerbird.base.errors import DataError
from bowerbird.data.item import Rejected
from bowerbird.data.split import SplitConfig

NAME = "ledger.jsonl"
_KEPT, _REJECTED = b"+", b"-"
"""Stand before the lines of the draft."""

Verdict = tuple[int, str]
"""Why a document is a duplicate: the number of the document kept, and words with `{origin}` for its origin."""


class Ledger:
    """Written as items arrive, with the duplicates marked at the end, as only then they are known."""

    def __init__(self, folder: Path, named: Collection[str] = ()):
        """`named` are origins whose rejection is of special interest."""
        self.path = folder / NAME
        self._draft = folder / f"{NAME}.draft"
        self._file = self._draft.open("wb")
        self.rejected = 0
        self.examples: list[Rejected] = []
        """The first few rejections, for error messages."""
        self.named_rejections: list[Rejected] = []
        self._named = frozenset(named)

    def reject(self, refusal: Rejected) -> None:
        self.rejected += 1
        if len(self.examples) < 3:
            self.examples.append(refusal)
        if refusal.origin in self._named:
            self.named_rejections.append(refusal)
        line = {"origin": refusal.origin, "status": "rejected", "reason": refusal.reason, "digest": None}
        self._file.write(_REJECTED + _line(line))

    def keep(self, origin: str, digest: str, licence: str | None) -> None:
        """A document that is kept unless `finish` says otherwise; they are numbered from 0 in this order."""
        line: dict[str, Any] = {"origin": origin, "status": "kept", "reason": None, "digest": digest}
        if licence:
            line["licence"] = licence
        self._file.write(_KEPT + _line(line))

    def finish(self, duplicates: Mapping[int, Verdict]) -> None:
        """Write the ledger itself; `duplicates` are documents by number."""
        self._file.close()
        named = {first for first, _ in duplicates.values()}
        origins: dict[int, str] = {}
        document = -1
        with self._draft.open("rb") as draft, self.path.open("wb") as file:
            for content in draft:
                flag, line = content[:1], content[1:]
                document += flag == _KEPT
                if flag == _KEPT and document in named:
                    origins[document] = json.loads(line)["origin"]
                if flag == _KEPT and document in duplicates:
                    first, words = duplicates[document]
                    reason = words.replace("{origin}", origins[first])
                    line = _line({**json.loads(line), "status": "duplicate", "reason": reason})
                file.write(line)
        self._draft.unlink()

    def close(self) -> None:
        self._file.close()


def _line(content: Mapping[str, Any]) -> bytes:
    # A file name that is not UTF-8 holds lone surrogates: "\\udcff" in JSON's own escape.
    return (json.dumps(content, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def refuse_unusable(ledger: Ledger, usable: int, sources: Sequence[str], noun: str) -> None:
    """Refuse to go on with nothing, or without a file that was asked for by name.

    Raises:
        DataError: says what is missing, and why.
    """
    if not usable:
        if not ledger.rejected:
            raise DataError(f"no {noun} found in {', '.join(sources)}", where=sources[0])
        raise DataError(
            f"nothing here can be used: {ledger.rejected} of {ledger.rejected} items were refused",
            where=_listed(ledger.examples, ledger.rejected),
        )
    if ledger.named_rejections:
        count = len(ledger.named_rejections)
        raise DataError(
            f"{count} of the {len(sources)} sources named cannot be used",
            where=_listed(ledger.named_rejections[:3], count),
            hint="--skip-bad goes on without them",
        )


def _listed(refused: Sequence[Rejected], count: int) -> str:
    listed = ", ".join(f"{refusal.origin} ({refusal.reason})" for refusal in refused)
    return listed if count <= len(refused) else f"{listed}, and {count - len(refused)} more"


def warnings(
    ledger: Ledger, splits: Mapping[str, int], config: SplitConfig, noun: str = "documents"
) -> list[str]:
    """What the user should know of what was left out; `splits` are how many each split has."""
    told = []
    if ledger.rejected:
        told.append(f"{ledger.rejected} source items were not used; {NAME} in the dataset says why")
    empty = [split for split in ("valid", "test") if getattr(config, split) and not splits[split]]
    if empty:
        told.append(f"too few {noun} for a {' and a '.join(empty)} split")
    return told


def summary(
    out: Path, content: Mapping[str, Any], vocab_size: int, ledger: Ledger, duplicates: int
) -> dict[str, Any]:
    """What is told of a dataset just made at `out`; `content` is that of its `dataset.json`."""
    bytes_of = {split: counts["bytes"] for split, counts in content["splits"].items()}
    return {
        "dataset": str(out),
        "kind": content["kind"],
        "structure": content["structure"],
        "codec": content["codec"]["name"],
        "vocab_size": vocab_size,
        "items": content["items"],
        "rejected": ledger.rejected,
        "duplicates": duplicates,
        "bytes": sum(bytes_of.values()),
        "digest": content["digest"],
        "splits": {split: counts["documents"] for split, counts in content["splits"].items()},
        "split_bytes": bytes_of,
    }
