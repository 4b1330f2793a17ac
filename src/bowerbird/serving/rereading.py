"""What a model remembers of an answer that was cut before its end: the prompt and the cut text, read again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bowerbird.kinds.loaded import Model
from bowerbird.sampling.request import TokenRequest
from bowerbird.sampling.session import run_all
from bowerbird.sampling.state import StreamState


def reread(model: Model, content: TokenRequest, text: str) -> StreamState:
    """The state after a request's prompt and this beginning of its answer.

    A session that has made an answer has read the stop string that ended it, which its asker never saw.
    Heavy for long answers: call it beside the event loop.
    """
    tokens = np.concatenate([content.prompt, model.codec.encode(text).astype(np.int64)])
    again = replace(content, prompt=tokens, length=0, keep_state=True, logprobs=None, prompt_logprobs=False)
    [progress] = run_all(model.kind.open_session(model.network, 1), [again])
    assert progress.chunk.state is not None, "it was asked for"
    return progress.chunk.state
