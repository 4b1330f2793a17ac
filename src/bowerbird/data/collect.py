"""One pass over the sources: each item cleaned, its text spooled, its fate written to the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from collections.abc import Collection as Origins
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.cleaning.step import Step
from bowerbird.data.item import Item, Rejected
from bowerbird.data.ledger import Ledger, Verdict
from bowerbird.data.near_duplicates import SHORTEST_CHARACTERS, NearDuplicates, Sketch
from bowerbird.data.sources.chat import LABEL
from bowerbird.data.spool import Spool

_REPORT_EVERY = 100


class Collection(AbstractContextManager["Collection"]):
    """The documents that passed cleaning, in the order they came. Closing it deletes the temporary files."""

    def __init__(
        self,
        folder: Path,
        clean: Step,
        similarity: float | None,
        named: Origins[str] = (),
        essence: Callable[[str], str] = str,
    ):
        """`similarity` from which documents are near duplicates, or None to keep those.

        `named` are the origins whose rejections the ledger lists apart; `essence` is what documents that are
        the same have in common.
        """
        self.spool = Spool(folder / "spool.tmp")
        self.ledger = Ledger(folder, named)
        self.chats = bytearray()
        """1 for every document that is a chat."""
        self._clean = clean
        self._essence = essence
        self._digests = bytearray()
        self._near = None if similarity is None else NearDuplicates(similarity)
        self._origin: str | None = None
        self._refused: str | None = None
        self._hash = hashlib.sha256()
        self._sketch = Sketch()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.spool.close()
        self.ledger.close()

    def take_all(
        self, found: Iterable[Item | Rejected], on_progress: Callable[[str, int], None] | None = None
    ) -> None:
        count = 0
        for count, item in enumerate(found, 1):
            self.take(item)
            if on_progress and count % _REPORT_EVERY == 0:
                on_progress("gather", count)
        self._give_up()
        self.spool.flush()
        if on_progress:
            on_progress("gather", count)

    def take(self, found: Item | Rejected) -> None:
        """An item, a piece of one, or a rejection, which takes back the pieces of its origin before it."""
        if isinstance(found, Rejected):
            self._reject(found)
            return
        if found.piece == 0:
            self._give_up()
            self._begin(found.origin)
        elif found.origin == self._refused:
            return
        cleaned = self._clean(found)
        if isinstance(cleaned, Rejected):
            self._reject(cleaned)
            return
        self._append(cleaned)
        if found.last:
            self._finish(cleaned)

    def _begin(self, origin: str) -> None:
        self._origin = origin
        self._refused = None
        self._hash = hashlib.sha256()
        self._sketch = Sketch()

    def _append(self, item: Item) -> None:
        content = self.spool.append(item.content)
        essence = self._essence(item.content)
        self._hash.update(content if essence == item.content else essence.encode())
        whole = item.piece == 0 and item.last
        if self._near is not None and not (whole and len(essence) < SHORTEST_CHARACTERS):
            self._sketch.add(essence)

    def _finish(self, item: Item) -> None:
        if not self.spool.open_bytes:  # a long document of which cleaning left nothing
            self._reject(Rejected(item.origin, "empty after cleaning"))
            return
        document = self.spool.finish_document()
        self._origin = None
        self._digests += self._hash.digest()[:16]
        self.chats.append(item.label == LABEL)
        if self._near is not None:
            self._near.add(document, self._sketch)
        self.ledger.keep(item.origin, f"sha256:{self._hash.hexdigest()}", item.licence)

    def _reject(self, refusal: Rejected) -> None:
        if refusal.origin == self._origin:
            self._give_up()
            self._refused = refusal.origin
        self.ledger.reject(refusal)

    def _give_up(self) -> None:
        """Forget the pieces of a document whose end never came."""
        self.spool.abandon_document()
        self._origin = None

    def duplicates(self) -> dict[int, Verdict]:
        """Documents that repeat an earlier one, exactly or nearly, with the one they repeat."""
        same = copies(bytes(self._digests))
        verdicts: dict[int, Verdict] = {
            document: (first, "the same as {origin}") for document, first in same.items()
        }
        if self._near is not None:
            left_out = np.zeros(len(self.spool), np.bool_)
            left_out[list(same)] = True
            for document, (first, similarity) in self._near.resembling(left_out).items():
                verdicts[document] = (first, f"nearly the same as {{origin}} (similarity {similarity:.2f})")
        return verdicts


def copies(digests: bytes) -> dict[int, int]:
    """Document -> the first one with the same 16-byte digest, for all but the first."""
    halves: NDArray[np.uint64] = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: equal ones stay in their order
    same = (halves[order[1:]] == halves[order[:-1]]).all(axis=1)
    begins = np.concatenate([[True], ~same])[: len(order)]
    firsts = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    later = np.flatnonzero(~begins)
    return dict(zip(order[later].tolist(), firsts[later].tolist(), strict=True))
