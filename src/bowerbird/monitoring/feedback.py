"""Verdicts on answers, as the server wrote them: read, counted by version, and put where our sources read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bowerbird.base.errors import DataError
from bowerbird.base.files import whole_folder
from bowerbird.data.markers import ROLES, plain
from bowerbird.evaluation.shares import wilson

FILE = "feedback.jsonl"
"""In an exported folder."""
PERSON, MODEL = "person", "model"
"""The column `origin` of an exported row: who wrote the words that are to be learnt."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one caller said of one answer."""

    id: str
    time: float
    """Unix seconds."""
    model: str
    """The id that was asked for, as `poems@live`."""
    digest: str | None
    """Of the model that answered, where it is known."""
    answer: str | None
    """The id of the answer, where it was named by it."""
    owner: str
    """The id of the caller's key; empty without keys."""
    prompt: str
    """Of a chat, the user's last words."""
    text: str
    """What the model gave."""
    rating: float | None
    """From -1, bad, to 1, good."""
    comment: str | None = None
    correction: str | None = None
    """What it should have given."""
    turns: tuple[tuple[str, str], ...] = ()
    """Of a chat, the (role, words) that the answer was to."""

    @property
    def approved(self) -> str | None:
        """What is fit to learn from: the correction, else the answer where it was found good."""
        if self.correction:
            return self.correction
        return self.text if self.text and self.rating is not None and self.rating > 0 else None

    @property
    def origin(self) -> str:
        """Who wrote what is approved: a `person`, or the `model` itself."""
        return PERSON if self.correction else MODEL


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many of the answers of one version were found good."""

    version: str
    up: int
    down: int
    interval: tuple[float, float] | None
    """95 % of the share, by Wilson; None where nobody said anything."""

    @property
    def share(self) -> float | None:
        return self.up / (self.up + self.down) if self.up + self.down else None

    def to_json(self) -> dict[str, Any]:
        ends = list(self.interval) if self.interval else None
        return {
            "version": self.version,
            "up": self.up,
            "down": self.down,
            "share": self.share,
            "interval": ends,
        }


def read(folder: Path, model: str | None = None) -> Iterator[Verdict]:
    """The verdicts in a folder, oldest first within each file; lines that are damaged are left out.

    Args:
        folder: the workspace's `feedback`; there may be none yet.
        model: an id that was asked for; `poems` means `poems@live` and `poems@3` as well. None: all.
    """
    for path in sorted(folder.glob("*.jsonl")):
        name = unquote(path.stem)
        if model is not None and name != model and name.partition("@")[0] != model:
            continue
        with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            for line in lines:
                found = _verdict(line)
                if found is not None:
                    yield found


def agreement(verdicts: Iterable[Verdict], versions: Mapping[str, str]) -> list[Agreement]:
    """How each version was found, in the order of `versions`; those nobody spoke of come with zeros.

    A caller who speaks of one answer again has changed their mind: the last word counts.

    Args:
        verdicts: in the order they were given.
        versions: what to call it, by digest.
    """
    last: dict[tuple[str, str], Verdict] = {}
    for verdict in verdicts:
        if verdict.rating is not None and verdict.digest in versions:
            last[verdict.owner, verdict.answer or verdict.id] = verdict
    told = []
    for digest, name in versions.items():
        ratings = [verdict.rating or 0.0 for verdict in last.values() if verdict.digest == digest]
        up, down = sum(rating > 0 for rating in ratings), sum(rating < 0 for rating in ratings)
        told.append(Agreement(name, up, down, wilson(up, up + down)))
    return told


def export(verdicts: Iterable[Verdict], folder: Path, *, chat: bool = False) -> dict[str, int]:
    """Write what was approved as a folder that `prepare` and `update` read. Returns how many rows of which origin.

    Each row has the text (`text`, or `messages` for a model of chats), and beside it `origin` (`person` for a
    correction, `model` for an answer that was found good), `answer`, `model`, `digest`, `owner`, `rating`, `time`.

    Raises:
        Refused: the folder is taken.
        DataError: nothing was approved.
    """
    counts = {PERSON: 0, MODEL: 0}
    with whole_folder(folder) as building:
        with (building / FILE).open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            for verdict in verdicts:
                if verdict.approved is None:
                    continue
                counts[verdict.origin] += 1
                file.write(json.dumps(_row(verdict, verdict.approved, chat), ensure_ascii=False) + "\n")
        if not any(counts.values()):
            raise DataError(
                "no feedback was approved: there is no correction, and no answer was found good",
                where=folder,
                hint="verdicts come by POST /v1/feedback",
            )
    return counts


def _row(verdict: Verdict, words: str, chat: bool) -> dict[str, Any]:
    prompt, words = plain(verdict.prompt), plain(words)
    before = verdict.turns or (("user", prompt),)
    content: dict[str, Any]
    if chat:
        content = {
            "messages": [
                *({"role": role, "content": plain(said)} for role, said in before),
                {"role": "assistant", "content": words},
            ]
        }
    else:
        content = {"text": prompt + words}
    return {
        **content,
        "origin": verdict.origin,
        "answer": verdict.answer,
        "model": verdict.model,
        "digest": verdict.digest,
        "owner": verdict.owner,
        "rating": verdict.rating,
        "time": verdict.time,
    }


def _verdict(line: str) -> Verdict | None:
    try:
        row = json.loads(line)
        rating = row["rating"]
        turns = _turns(row["prompt"])
        return Verdict(
            id=str(row["id"]),
            time=float(row["time"]),
            model=str(row["model"]),
            digest=_text(row["digest"]),
            answer=_text(row["origin"]),
            owner=str(row["owner"] or ""),
            prompt=turns[-1][1] if turns else _text(row["prompt"]) or "",
            text=_text(row["text"]) or "",
            rating=None if rating is None else float(rating),
            comment=_text(row["comment"]),
            correction=_text(row["correction"]),
            turns=turns,
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _turns(prompt: Any) -> tuple[tuple[str, str], ...]:
    """The messages of a chat; none where the prompt is a text.

    Raises:
        ValueError, KeyError, TypeError: they are none.
    """
    if not isinstance(prompt, list):
        return ()
    if not {turn["role"] for turn in prompt} <= ROLES.keys():
        raise ValueError("nobody speaks so")
    return tuple((str(turn["role"]), str(turn["content"])) for turn in prompt)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
