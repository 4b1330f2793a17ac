"""The paths of the API, a module a topic, each with `add(app, served)`.

They import Starlette at their top: `create_app` asks for them once it knows that it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType


def topics() -> Sequence[ModuleType]:
    """All topics, in the order that `/openapi.json` tells of them."""
    from bowerbird.serving.routes import (
        chat,
        completions,
        feedback,
        front,
        images,
        melodies,
        models,
        openapi,
        operations,
        sessions,
    )

    return models, completions, chat, images, melodies, sessions, feedback, operations, front, openapi
