"""What is told of a served model: OpenAI's four fields, and what it is."""

from __future__ import annotations

from typing import Any

from bowerbird.kinds.loaded import Model
from bowerbird.serving.served import Served


def described(model_id: str, model: Model, served: Served) -> dict[str, Any]:
    """A model as `/v1/models` lists it, and what is recorded of its requests."""
    return {
        "id": model_id,
        "object": "model",
        "created": served.since,
        "owned_by": "bowerbird",
        "kind": model.kind.name,
        "structure": model.structure,
        "digest": model.digest,
        "parameters": model.parameters,
        "vocab_size": model.codec.vocab_size,
        "codec": model.codec.name,
        "events": served.events,
        "challenger": _tried(model_id, model, served),
    }


def _tried(model_id: str, model: Model, served: Served) -> dict[str, Any] | None:
    """The version that is on trial beside it, and what was not asked of it for want of time; None where none is."""
    trial = served.challengers.of(model_id, model)
    if trial is None:
        return None
    shadow = served.shadow
    return {
        **trial.told(),
        "shadows": 0 if shadow is None else shadow.asked,
        "shadows_dropped": 0 if shadow is None else shadow.dropped,
    }
