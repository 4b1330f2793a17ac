"""A tiny model, and real servers in threads of this process: one of it, and one of every kind with all that is kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from tests.running_server import running
from tests.untrained_bundles import image_model, melody_model, text_model

from bowerbird import lifecycle
from bowerbird.kinds.loaded import Model
from bowerbird.serving.app import create_app
from bowerbird.serving.engine import Engine
from bowerbird.serving.metrics import Metrics
from bowerbird.serving.server import listen, url_of
from bowerbird.serving.sessions import SessionStore


@dataclass(frozen=True)
class Live:
    """A running server."""

    url: str
    engine: Engine
    app: Any


@dataclass(frozen=True)
class Everything:
    """A running server of a model of each kind, which keeps sessions, verdicts and metrics."""

    url: str
    app: Any
    models: dict[str, Model]
    feedback: Path
    client: httpx.Client

    def ask(self, path: str, **body: Any) -> httpx.Response:
        return self.client.post(path, json=body)

    def made(self, path: str, **body: Any) -> Any:
        """The answer to what must be answered."""
        answer = self.ask(path, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/openapi.json").json()
        return found


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


@pytest.fixture(scope="session")
def everything(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    """`tiny` has learnt a little; `talk`, a chat model, `tunes` and `shapes` nothing."""
    folder = tmp_path_factory.mktemp("everything")
    models = {
        "tiny": model,
        "talk": lifecycle.load(text_model(folder / "talk", structure="chat")),
        "tunes": lifecycle.load(melody_model(folder / "tunes")),
        "shapes": lifecycle.load(image_model(folder / "shapes")),
    }
    verdicts = folder / "feedback"
    app = create_app(
        models, local=True, sessions=SessionStore(None), observer=Metrics(), feedback=verdicts
    )
    with running(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield Everything(url, app, models, verdicts, client)
