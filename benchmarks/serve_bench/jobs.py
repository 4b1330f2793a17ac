"""What a worker process does: one job with its arguments as JSON in, one JSON object out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bowerbird import lifecycle
from bowerbird.base.device import use_threads
from export import made_up
from machine import describe
from serve_bench.running import TEMPERATURE, TOP_P

_SPLIT = ("codec.name=characters", "split.valid=0.02", "split.test=0")
_SENTENCES = 20_000


def prepare(source: str | None, text: str, out: str, symbols: str) -> dict[str, Any]:
    """The text, prepared as single characters, and as many symbols for others as ours has tokens."""
    written = Path(source).read_text(encoding="utf-8") if source else made_up(_SENTENCES)
    Path(text).write_text(written, encoding="utf-8")
    dataset = lifecycle.prepare(text, out, settings=_SPLIT)
    own = [chr(0xE000 + number) for number in range(dataset.codec.vocab_size)]
    pieces = list(dataset.codec.pieces)  # type: ignore[attr-defined]
    filled = [*pieces, *own[len(pieces) :]]
    Path(symbols).write_text(json.dumps(filled), encoding="utf-8")
    return {
        "source": Path(source).name if source else "made up",
        "characters": len(written),
        "vocabulary": dataset.codec.vocab_size,
    }


def alone(model: str, asked: str) -> dict[str, Any]:
    """What the model gives each request by itself."""
    loaded = lifecycle.load(model)
    requests = json.loads(Path(asked).read_text(encoding="utf-8"))
    common = {"temperature": TEMPERATURE, "top_p": TOP_P}
    return {"texts": [loaded.generate(**request, **common)[0].text for request in requests]}


def state_bytes(model: str) -> dict[str, Any]:
    """What one stream takes of the memory of the session that serves it."""
    loaded = lifecycle.load(model)
    session = loaded.kind.open_session(loaded.network, 1)
    return {"bytes": session.bytes_per_slot}  # type: ignore[attr-defined]


JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    job.__name__: job for job in (prepare, describe, alone, state_bytes)
}


def work(job: str, arguments: str, out: Path) -> None:
    """Do a job and write what came of it."""
    use_threads()
    out.write_text(json.dumps(JOBS[job](**json.loads(arguments))), encoding="utf-8")
