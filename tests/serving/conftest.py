"""A tiny model, and a real server of it in a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from bowerbird import lifecycle
from bowerbird.kinds.loaded import Model
from bowerbird.serving.app import create_app
from bowerbird.serving.engine import Engine
from bowerbird.serving.server import listen, url_of


@dataclass(frozen=True)
class Live:
    """A running server."""

    url: str
    engine: Engine
    app: Any


@pytest.fixture(scope="session")
def model(tiny_run: Path) -> Model:
    return lifecycle.load(tiny_run)


@pytest.fixture(scope="session")
def live(model: Model) -> Iterator[Live]:
    """The model, served as `tiny` and as `poems@live`."""
    app = create_app({"tiny": model, "poems@live": model}, local=True)
    bound = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    yield Live(url_of(bound), app.state.engine, app)
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()
