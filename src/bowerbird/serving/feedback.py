"""`POST /v1/feedback`: verdicts on answers, kept as lines of `MODEL.jsonl` for those who train the next version.

What is said in them goes nowhere else: no log, no metric.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from filelock import FileLock
from pydantic import ConfigDict, Field

from bowerbird.base.config import Config
from bowerbird.base.errors import storage_errors
from bowerbird.base.files import private
from bowerbird.serving.answer import Answer, Prompt
from bowerbird.serving.asked import Form, check_text
from bowerbird.serving.errors import BadRequest, UnknownAnswer

MOST_CHARACTERS = 100_000
"""Of each text in a verdict."""
MOST_REMEMBERED = 4_096
MOST_REMEMBERED_BYTES = 8 << 20
_WORDS = {"up": 1.0, "down": -1.0}
_TEXT_FIELDS = ("prompt", "text", "comment", "correction")

Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Words = str | list[dict[str, str]]
"""A prompt: a text, or the messages of a chat with `role` and `content`."""


class FeedbackBody(Config):
    """What `POST /v1/feedback` takes: a verdict on an answer given lately, or on a text and the model it is of."""

    model_config = ConfigDict(strict=True)

    id: str | None = Field(None, max_length=100)
    """Of the answer, given to the same key a short while ago."""
    choice: int | None = Field(None, ge=0)
    """Which of its choices; the first where it is not given."""
    model: str | None = None
    prompt: Text | None = None
    text: Text | None = None
    """What the model gave."""
    rating: Annotated[float, Field(ge=-1, le=1)] | Literal["up", "down"] | None = None
    """From -1, bad, to 1, good; `up` is 1 and `down` is -1."""
    comment: Text | None = None
    correction: Text | None = None
    """What it should have given."""


def _given(*names: str) -> Form:
    """The schema of a body that has all these fields."""
    return {
        "required": list(names),
        "properties": {name: {"not": {"type": "null"}} for name in names},
    }


FEEDBACK_RULES: list[Form] = [
    {"anyOf": [_given("id"), _given("model", "text")]},
    {"anyOf": [_given("rating"), _given("comment"), _given("correction")]},
]


@dataclass(frozen=True)
class Given:
    """An answer that was given lately."""

    owner: str
    model: str
    digest: str
    prompts: tuple[Words, ...]
    n: int
    """Choices for each prompt."""
    texts: tuple[str, ...]
    """One for each choice."""

    def prompt_of(self, choice: int) -> Words:
        return self.prompts[choice // self.n]

    @property
    def size(self) -> int:
        """About how many bytes it takes here."""
        return 500 + 2 * sum(map(len, self.texts)) + sum(map(_size, self.prompts))


class Remembered:
    """The answers given lately, in memory, so that a verdict need not send them back. The oldest go first."""

    def __init__(self, most: int = MOST_REMEMBERED, most_bytes: int = MOST_REMEMBERED_BYTES):
        self._most = most
        self._most_bytes = most_bytes
        self._given: OrderedDict[str, Given] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, answer: Answer, owner: str) -> None:
        """Remember an answer that is whole, unless it alone takes more than an eighth of the room."""
        choices = list(answer.given())
        given = Given(
            owner,
            answer.asked.model,
            answer.digest,
            tuple(map(_words, answer.prompts)),
            answer.asked.n,
            tuple(choice.text for choice in choices),
        )
        if given.size > self._most_bytes // 8:
            return
        with self._lock:
            self._given[answer.id] = given
            self._bytes += given.size
            while len(self._given) > self._most or self._bytes > self._most_bytes:
                _, oldest = self._given.popitem(last=False)
                self._bytes -= oldest.size

    def find(self, answer_id: str, owner: str) -> Given:
        """Raises UnknownAnswer: it is too long ago, was another key's, or never given."""
        with self._lock:
            given = self._given.get(answer_id)
        if given is None or given.owner != owner:
            raise UnknownAnswer(answer_id)
        return given


class Feedback:
    """Verdicts in a folder, one file a model.

    Args:
        folder: made when the first is written; its owner's alone.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.remembered = Remembered()

    def record(self, body: FeedbackBody, owner: str, digest: str | None) -> dict[str, Any]:
        """What a verdict comes to, to be written.

        Args:
            body: the verdict.
            owner: whose it is.
            digest: of the model that it names, if it names one.

        Raises:
            BadRequest: it says nothing, or not on what.
            UnknownAnswer: the answer is not remembered, or has no such choice.
        """
        for name in _TEXT_FIELDS:
            check_text(getattr(body, name) or "", name)
        if body.rating is None and body.comment is None and body.correction is None:
            raise BadRequest(
                "give a `rating`, a `comment` or a `correction`", param="rating", code="missing_parameter"
            )
        prompt: Words | None = body.prompt
        text, model = body.text, body.model
        if body.id is not None:
            given, choice = self.remembered.find(body.id, owner), body.choice or 0
            if choice >= len(given.texts):
                raise UnknownAnswer(f"{body.id}, choice {choice}")
            model, digest = given.model, given.digest
            prompt, text = given.prompt_of(choice), given.texts[choice]
        elif model is None or text is None:
            param = "model" if model is None else "text"
            raise BadRequest(
                "name the answer by its `id`, or give `model` and `text`",
                param=param,
                code="missing_parameter",
            )
        rating = _WORDS[body.rating] if isinstance(body.rating, str) else body.rating
        return {
            "id": f"fb-{secrets.token_hex(12)}",
            "time": round(time.time(), 3),
            "origin": body.id,
            "owner": owner,
            "model": model,
            "digest": digest,
            "prompt": prompt,
            "text": text,
            "rating": rating,
            "comment": body.comment,
            "correction": body.correction,
        }

    def write(self, record: dict[str, Any]) -> None:
        """Append a record to its model's file; it is on the disk when this returns, or not in the file.

        Raises:
            StorageError: the disk says no.
        """
        path = self.folder / f"{_file_name(record['model'])}.jsonl"
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "replace")
        with storage_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (
                FileLock(f"{path}.lock", mode=0o600),
                open(path, "ab", buffering=0, opener=private) as file,
            ):
                before = file.seek(0, os.SEEK_END)
                try:
                    if file.write(line) != len(line):
                        raise OSError(errno.ENOSPC, "the disk is full")
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(before)
                    raise


def _words(prompt: Prompt) -> Words:
    if not prompt.turns:
        return prompt.text
    return [{"role": role, "content": words} for role, words in prompt.turns]


def _size(prompt: Words) -> int:
    if isinstance(prompt, str):
        return 2 * len(prompt)
    return sum(300 + 2 * len(turn["content"]) for turn in prompt)


def _file_name(model_id: str) -> str:
    """A model's id as a name that every file system takes."""
    name = quote(model_id, safe="@ ")
    return f"%2E{name[1:]}" if name.startswith(".") else name
