"""Traffic of real texts: what callers ask, each a document's own words, as events."""

from __future__ import annotations

import gettext
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bowerbird.data.dataset import Dataset
from bowerbird.data.markers import plain, turns
from bowerbird.monitoring.events import Event

MOST = 400
"""Characters of a prompt."""
CATALOGUES = Path("/usr/share/locale")
"""Of Debian, and others."""
_SENTENCE = re.compile(r"[^.!?\n][^.!?\n]{15,}[.!?]?")


@dataclass(frozen=True)
class Said:
    """One prompt."""

    document: str
    """Whose words: a chat, a speech, a file. It is the caller's session, for its words are alike."""
    text: str


def of_dataset(dataset: Dataset, split: str) -> list[Said]:
    """The user's turns of chats, or the sentences of texts."""
    found = []
    for number in range(len(dataset.documents(split))):
        text = dataset.text(split, number)
        if dataset.structure == "chat":
            said = [plain(words) for role, words in turns(text) if role == "user"]
        else:
            said = sentences(plain(text))
        found += [Said(f"{split} {number}", words[:MOST]) for words in said if len(words.strip()) >= 4]
    return found


def of_folder(folder: Path) -> list[Said]:
    """The sentences of each text file."""
    found = []
    for path in sorted([folder] if folder.is_file() else folder.rglob("*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [Said(path.name, words[:MOST]) for words in sentences(text)]
    return found


def sentences(text: str) -> list[str]:
    return [found.group().strip() for found in _SENTENCE.finditer(text)]


def stream(pool: Sequence[Said], count: int, seed: int) -> Iterator[Said]:
    """Requests drawn from a pool: a document, then one of its prompts, so that long ones do not crowd the others."""
    rng = random.Random(seed)
    by_document: dict[str, list[Said]] = {}
    for one in pool:
        by_document.setdefault(one.document, []).append(one)
    documents = list(by_document.values())
    for _ in range(count):
        yield rng.choice(rng.choice(documents))


def events(said: Sequence[Said], model: str, digest: str, first: int = 1) -> list[Event]:
    """Requests as the server would have recorded them, a minute apart."""
    return [
        Event(
            id=f"cmpl-{number}",
            time=1_700_000_000.0 + 60.0 * number,
            model=model,
            digest=digest,
            kind="text",
            path="/v1/completions",
            session=one.document,
            prompt=one.text,
            number=number,
        )
        for number, one in enumerate(said, first)
    ]


def of_catalogues(language: str, root: Path = CATALOGUES) -> list[Said]:
    """What the programs of this machine say in a language, from their translations; nothing where it has none."""
    found = []
    for path in sorted((root / language / "LC_MESSAGES").glob("*.mo")):
        try:
            with path.open("rb") as file:
                messages = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        except (OSError, ValueError, UnicodeDecodeError):
            continue
        for original, text in messages.items():
            words = " ".join(str(text).split())
            if original and words != original and " " in words and len(words) >= 16:
                found.append(Said(path.name, words[:MOST]))
    return found
