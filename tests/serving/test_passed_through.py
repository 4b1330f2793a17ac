"""What sessions tell beside content reaches the asker: log-probabilities, and states where a text was cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bowerbird.kinds.loaded import Model
from bowerbird.sampling.logprobs import joined
from bowerbird.sampling.state import StreamState
from bowerbird.serving.engine import Engine
from bowerbird.serving.scheduler import Job
from bowerbird.serving.ticket import Piece


def job(model: Model, settings: dict[str, Any], **changes: Any) -> Job:
    request: Any = model.request(**settings)
    content = model.kind.encode_request(model, request, 0)
    return Job(replace(content, **changes), model.kind.read(model, request))


def made(engine: Engine, model: Model, settings: dict[str, Any], **changes: Any) -> list[Piece]:
    return list(engine.submit_jobs("tiny", [job(model, settings, **changes)]))


def test_log_probabilities_come_with_their_tokens(model: Model) -> None:
    with Engine({"tiny": model}) as engine:
        settings = {"prompt": "the ", "length": 20, "seed": 5}
        pieces = made(engine, model, settings, logprobs=3, prompt_logprobs=True)
        plain = made(engine, model, settings)
    assert "".join(piece.text for piece in pieces) == "".join(piece.text for piece in plain)
    rows = joined([piece.logprobs for piece in pieces if piece.logprobs is not None])
    assert len(rows) == sum(piece.tokens for piece in pieces)
    assert rows.top.shape == (len(rows), 3)
    assert pieces[0].prompt_logprobs is not None
    assert len(pieces[0].prompt_logprobs) == len(job(model, settings).content.prompt)
    assert all(piece.prompt_logprobs is None for piece in pieces[1:])


def test_rows_after_a_stop_string_are_not_told(model: Model) -> None:
    whole = model.generate(prompt="the ", length=40, seed=5)[0].text
    settings = {"prompt": "the ", "length": 40, "seed": 5, "stop": (whole[20:23],)}
    with Engine({"tiny": model}) as engine:
        pieces = made(engine, model, settings, logprobs=0)
    rows = joined([piece.logprobs for piece in pieces if piece.logprobs is not None])
    assert len(rows) == sum(piece.tokens for piece in pieces) < 40


@pytest.mark.parametrize("stop", [False, True], ids=["at its length", "at a stop string"])
def test_the_state_told_is_that_at_the_end_of_what_counts(model: Model, stop: bool) -> None:
    settings: dict[str, Any] = {"prompt": "the ", "length": 40, "seed": 5}
    with Engine({"tiny": model}) as engine:
        whole = "".join(piece.text for piece in made(engine, model, settings))
        if stop:
            settings["stop"] = (whole[20:23],)
        pieces = made(engine, model, settings, keep_state=True)
        state = pieces[-1].state
        assert isinstance(state, StreamState)
        tokens = sum(piece.tokens for piece in pieces)
        prompt = job(model, settings).content.prompt
        assert state.read == len(prompt) + tokens
        end = whole.find(whole[20:23]) + 3 if stop else len(whole)
        reading = np.concatenate([prompt, model.codec.encode(whole[:end])])
        again = made(engine, model, settings, prompt=reading, length=0, keep_state=True)[-1].state
    assert again is not None
    assert again.read == state.read
    np.testing.assert_allclose(again.logits, state.logits, atol=1e-4)
