"""The sieve that new data goes through: masked, blocked, taken once, and no key's or model's more than its share."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TextIO

import numpy as np
from pydantic import Field

from bowerbird.base.config import Config
from bowerbird.base.digest import digest_file
from bowerbird.base.files import private
from bowerbird.data.cleaning import mask as masking
from bowerbird.data.cleaning.step import CleanConfig, Step
from bowerbird.data.item import Item
from bowerbird.data.markers import plain, turns
from bowerbird.data.near_duplicates import SHORTEST_CHARACTERS, NearDuplicates, Sketch
from bowerbird.data.normaliser import Normaliser
from bowerbird.data.sources.source import GatherConfig
from bowerbird.monitoring.blocked import Patterns
from bowerbird.monitoring.caps import over
from bowerbird.monitoring.feedback import MODEL

DOCUMENTS = "documents.jsonl"
LEDGER = "gathered.jsonl"


class GatherRules(Config):
    """What new data is taken, and how much of it from whom."""

    read: GatherConfig = GatherConfig()
    """How source files are read, as `prepare --set gather.column=...`."""
    mask: bool = True
    """Replace e-mail addresses, web addresses and telephone numbers before anything is written."""
    block: Path | None = None
    """A file of regular expressions, one a line: a document in which one is found is left out."""
    similarity: float = Field(0.8, gt=0, le=1)
    """From which share of common passages two documents are nearly the same."""
    least_rating: float = Field(0.5, gt=0, le=1)
    """From which an answer counts as approved."""
    most_made: float = Field(0.25, ge=0, le=1)
    """Share of the new data, in characters, that the model itself may have made."""
    most_of_owner: float = Field(0.25, ge=0, le=1)
    """Share that the feedback of one key may be. What comes without a key is the operator's, and is not capped."""
    least_characters: int = Field(5_000, ge=1)
    """With fewer characters left, nothing is learnt."""
    least_documents: int = Field(3, ge=1)
    """With fewer documents left, nothing is learnt: some are to be held out."""


@dataclass(frozen=True)
class Document:
    """One that may be learnt from."""

    content: str
    """With markers where it is a chat."""
    source: str
    """Where it comes from: a path as the user gave it, or `feedback ID`."""
    origin: str
    """Who wrote it: a `person`, or the `model`."""
    owner: str = ""
    """The key whose feedback it is; empty for the operator's own."""
    chat: bool = False

    def row(self) -> dict[str, Any]:
        words: dict[str, Any] = {"text": self.content}
        if self.chat:
            words = {"messages": [{"role": role, "content": said} for role, said in turns(self.content)]}
        return {**words, "origin": self.origin, "source": self.source}


@dataclass(frozen=True)
class Gathered:
    """What came of it."""

    folder: Path
    """Of the documents, to be read by `prepare`."""
    documents: int
    characters: int
    made: int
    """Characters of documents that the model made."""
    masked: int
    """Documents in which private data was replaced."""
    refused: Mapping[str, int]
    """How many were left out, by the reason."""
    digest: str
    """Of the documents: equal for equal ones."""
    notes: Sequence[str] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "characters": self.characters,
            "model_made": self.made / self.characters if self.characters else 0.0,
            "masked": self.masked,
            "refused": dict(self.refused),
            "digest": self.digest,
        }


class Sieve:
    """Takes documents one by one; what is left of them is known at the end."""

    def __init__(self, work: Path, rules: GatherRules, known: Callable[[str], bool]):
        self._rules = rules
        self._known = known
        self._blocked = Patterns.read(rules.block)
        self._mask = _mask() if rules.mask else None
        self._draft_path = work / "documents.draft"
        self._files = ExitStack()
        self._draft = self._open(self._draft_path)
        self._ledger = self._open(work / LEDGER)
        self._first: dict[bytes, int] = {}
        self._near = NearDuplicates(rules.similarity)
        self._sources: list[str] = []
        self._owners: list[str] = []
        self._made: list[bool] = []
        self._sizes: list[int] = []
        self._digests: list[bytes] = []
        self._refused: Counter[str] = Counter()
        self._masked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._files.close()
        self._draft_path.unlink(missing_ok=True)

    def take(self, found: Document) -> None:
        """Keep a document, or say why not."""
        document = self._masked_one(found)
        words = plain(document.content)
        if not words.strip():
            self.refuse(document.source, "empty")
        elif line := self._blocked.match(words):
            self.refuse(document.source, f"line {line} of {self._blocked.path}", "blocked")
        elif self._known(words):
            self.refuse(document.source, "learnt from before")
        else:
            key = essence(words)
            if key in self._first:
                first = self._sources[self._first[key]]
                self.refuse(document.source, f"the same as {first}", "the same as another")
                return
            self._keep(document, words, key)

    def finish(self, folder: Path, notes: Sequence[str]) -> Gathered:
        """Leave out near duplicates and what is over a share; write the rest."""
        self._draft.flush()
        dropped = {
            one: (f"nearly the same as {self._sources[first]}", "nearly the same as another")
            for one, (first, _) in self._near.resembling(np.zeros(len(self._sizes), np.bool_)).items()
        }
        dropped |= self._over_shares(dropped)
        total = made = documents = 0
        path = folder / DOCUMENTS
        with (
            self._draft_path.open(encoding="utf-8", newline="\n") as draft,
            open(path, "w", encoding="utf-8", newline="\n", opener=private) as file,
        ):
            for one, line in enumerate(draft):
                if one in dropped:
                    self.refuse(self._sources[one], *dropped[one])
                    continue
                file.write(line)
                self._note(self._sources[one], "kept", None)
                documents += 1
                total += self._sizes[one]
                made += self._sizes[one] * self._made[one]
        return Gathered(
            folder, documents, total, made, self._masked, dict(self._refused), digest_file(path), notes
        )

    def _open(self, path: Path) -> TextIO:
        return self._files.enter_context(open(path, "w", encoding="utf-8", errors="replace", opener=private))

    def _keep(self, document: Document, words: str, key: bytes) -> None:
        number = len(self._sizes)
        self._first[key] = number
        self._sources.append(document.source)
        self._owners.append(document.owner)
        self._made.append(document.origin == MODEL)
        self._sizes.append(len(words))
        self._digests.append(key)
        if len(words) >= SHORTEST_CHARACTERS:
            sketch = Sketch()
            sketch.add(words)
            self._near.add(number, sketch)
        self._draft.write(json.dumps(document.row(), ensure_ascii=False) + "\n")

    def _over_shares(self, dropped: Mapping[int, Any]) -> dict[int, tuple[str, str]]:
        sizes = [0 if one in dropped else size for one, size in enumerate(self._sizes)]
        # In the order of their digests, so that nobody comes first by having come first, or often.
        order = sorted(range(len(sizes)), key=lambda one: self._digests[one])
        groups: dict[str, list[int]] = {"": [one for one in order if self._made[one] and sizes[one]]}
        shares = {"": self._rules.most_made}
        for one in order:
            if (owner := self._owners[one]) and sizes[one]:
                groups.setdefault(owner, []).append(one)
                shares[owner] = self._rules.most_of_owner
        made, owned = "over the share of what the model made", "over the share of one key"
        return {
            one: (f"{owned} ({owner})", owned) if owner else (made, made)
            for one, owner in over(sizes, groups, shares).items()
        }

    def _masked_one(self, document: Document) -> Document:
        if self._mask is None:
            return document
        cleaned = self._mask(Item(document.content, document.source))
        assert isinstance(cleaned, Item), "masking refuses nothing"
        if cleaned.content == document.content:
            return document
        self._masked += 1
        return replace(document, content=cleaned.content)

    def refuse(self, source: str, reason: str, counted: str | None = None) -> None:
        """Leave out what is at a source; `counted` is the reason that it is counted by, where that tells less."""
        self._refused[counted or reason] += 1
        self._note(source, "refused", reason)

    def _note(self, source: str, status: str, reason: str | None) -> None:
        line = {"source": source, "status": status, "reason": reason}
        self._ledger.write(json.dumps(line, ensure_ascii=False) + "\n")


def essence(text: str) -> bytes:
    """What texts have in common that differ in letter case, digits, spaces and signs alone; 16 bytes."""
    letters = "".join(character for character in text.casefold() if character.isalpha())
    return hashlib.blake2b((letters or text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _mask() -> Step:
    step = masking.build(CleanConfig(mask=("email", "url", "phone")), Normaliser())
    assert step is not None, "it is asked for"
    return step
