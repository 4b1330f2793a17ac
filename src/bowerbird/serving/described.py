"""What is told of a served model: OpenAI's four fields, and what it is."""

from __future__ import annotations

from typing import Any

from bowerbird.kinds.loaded import Model


def described(model_id: str, model: Model, since: int) -> dict[str, Any]:
    """A model as `/v1/models` lists it; `since` is when it came to be served, in Unix seconds."""
    return {
        "id": model_id,
        "object": "model",
        "created": since,
        "owned_by": "bowerbird",
        "kind": model.kind.name,
        "structure": model.structure,
        "digest": model.digest,
        "parameters": model.parameters,
        "vocab_size": model.codec.vocab_size,
        "codec": model.codec.name,
    }
