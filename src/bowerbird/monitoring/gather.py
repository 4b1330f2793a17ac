"""Gathers what a version is to learn from next: a person's sources, and feedback that was approved.

    new/documents.jsonl     {"text" or "messages", "origin": "person" | "model", "source"}, what is kept
    gathered.jsonl          of every document its source, what became of it, and why; no words

What comes in is never believed: it goes through a sieve first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bowerbird.base.files import private_folder
from bowerbird.data.item import Item, Rejected
from bowerbird.data.markers import plain, turn
from bowerbird.data.sources.chat import LABEL
from bowerbird.data.sources.gather import gather as items_of
from bowerbird.data.sources.source import GatherConfig
from bowerbird.monitoring.feedback import MODEL, PERSON, Verdict
from bowerbird.monitoring.made_rows import MadeRows
from bowerbird.monitoring.sieve import Document, Gathered, GatherRules, Sieve


def gather(
    work: Path,
    rules: GatherRules,
    *,
    sources: Sequence[str] = (),
    verdicts: Iterable[Verdict] = (),
    chat: bool = False,
    known: Callable[[str], bool] = lambda text: False,
) -> Gathered:
    """Gather new documents into `work`.

    Args:
        work: a folder; `new/documents.jsonl` and `gathered.jsonl` are written into it.
        rules: what is taken.
        sources: files, folders, globs, archives or demo data; a JSON row whose `origin` is `model` is model-made.
        verdicts: feedback, of which what was approved is taken.
        chat: the model is one of chats.
        known: whether a text has been learnt from before.

    Raises:
        NotFound, UsageError, MissingExtra: as the sources, or the file of patterns.
        StorageError: the disk says no.
    """
    folder = work / "new"
    private_folder(folder)
    notes: list[str] = []
    with Sieve(work, rules, known) as sieve:
        if sources:
            for found in _of_sources(sources, rules.read, notes.append):
                if isinstance(found, Rejected):
                    sieve.refuse(found.origin, found.reason, "could not be read")
                else:
                    sieve.take(found)
        for found in _of_feedback(verdicts, rules, chat):
            if isinstance(found, Rejected):
                sieve.refuse(found.origin, found.reason)
            else:
                sieve.take(found)
        return sieve.finish(folder, notes[:20])


def _of_sources(
    sources: Sequence[str], config: GatherConfig, note: Callable[[str], None]
) -> Iterator[Document | Rejected]:
    """Whole documents, one at a time; what was begun and refused is left out."""
    made = MadeRows()
    parts: list[Item] = []
    for found in items_of(sources, config, note):
        if isinstance(found, Rejected):
            parts = []
            yield found
            continue
        parts = [*parts, found] if found.piece else [found]
        if found.last:
            content = "".join(part.content for part in parts)
            origin = MODEL if made(found.origin) else PERSON
            yield Document(content, found.origin, origin, chat=found.label == LABEL)


def _of_feedback(
    verdicts: Iterable[Verdict], rules: GatherRules, chat: bool
) -> Iterator[Document | Rejected]:
    """What was approved, and not found bad by others."""
    verdicts = list(verdicts)
    votes: Counter[tuple[str, str]] = Counter()
    for verdict in _last_words(verdicts):
        if verdict.rating is not None:
            votes[verdict.prompt, verdict.text] += (verdict.rating > 0) - (verdict.rating < 0)
    for verdict in verdicts:
        source = f"feedback {verdict.id}"
        if verdict.approved is None:
            continue
        if verdict.origin == MODEL:
            if (verdict.rating or 0.0) < rules.least_rating:
                continue
            if votes[verdict.prompt, verdict.text] <= 0:
                yield Rejected(source, "found bad by as many")
                continue
        if chat and not verdict.prompt:
            yield Rejected(source, "what the answer was to is not known")
            continue
        prompt, words = plain(verdict.prompt), plain(verdict.approved)
        content = prompt + words
        if chat:
            before = verdict.turns or (("user", prompt),)
            content = "".join(turn(role, plain(said)) for role, said in before)
            content += turn("assistant", words)
        yield Document(content, source, verdict.origin, verdict.owner, chat)


def _last_words(verdicts: Iterable[Verdict]) -> Iterable[Verdict]:
    """Of one caller on one answer, what was said last: to say it a thousand times is to say it once."""
    return {(verdict.owner, verdict.prompt, verdict.text): verdict for verdict in verdicts}.values()
