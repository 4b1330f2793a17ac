"""The HTTP face of the engine, in OpenAI's shapes. It puts parts together, and decides nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bowerbird.base.errors import BowerbirdError, MissingExtra
from bowerbird.kinds.loaded import Model
from bowerbird.serving.engine import QUEUE, SLOTS, Engine
from bowerbird.serving.feedback import Feedback
from bowerbird.serving.guards import Guard
from bowerbird.serving.keys import KeyRing
from bowerbird.serving.limits import LIMITS, Limits
from bowerbird.serving.observer import NullObserver, Observer
from bowerbird.serving.origins import NO_ORIGINS, Origins
from bowerbird.serving.served import Served
from bowerbird.serving.sessions import SessionStore
from bowerbird.serving.shadow import Shadow
from bowerbird.serving.sink import EventSink

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app(
    models: Mapping[str, Model],
    *,
    slots: int = SLOTS,
    queue: int = QUEUE,
    local: bool = False,
    keys: KeyRing | None = None,
    limits: Limits = LIMITS,
    origins: Origins = NO_ORIGINS,
    sessions: SessionStore | None = None,
    observer: Observer | None = None,
    feedback: Path | None = None,
    sink: EventSink | None = None,
) -> FastAPI:
    """An app that answers with these models; its parts are `app.state.served`, and end with its lifespan.

    Args:
        models: loaded models by the id they are asked for by.
        slots: samples of one model made at the same time.
        queue: samples of one model that may wait; beyond it the answer is 429.
        local: answer only when called by a name of this machine.
        keys: who may ask; None is anybody who reaches the server.
        limits: how large and how frequent requests may be.
        origins: of web pages that may ask beside the server's own.
        sessions: where the states of named sessions are kept; None keeps none.
        observer: is told what happens, for the metrics.
        feedback: the folder that verdicts on answers are written to; None takes none.
        sink: keeps a record of each request; None keeps none.

    Raises:
        MissingExtra: FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI
        from starlette.exceptions import HTTPException
    except ImportError as error:
        raise MissingExtra("serving", "serve") from error
    from bowerbird.serving import routes
    from bowerbird.serving.routes.replies import refuse, refuse_path

    observer = observer or NullObserver()
    engine = Engine(models, slots=slots, queue=queue, observer=observer)
    served = Served(
        engine,
        limits,
        observer,
        keys=keys,
        sessions=sessions,
        feedback=None if feedback is None else Feedback(feedback),
        sink=sink,
        shadow=None if sink is None else Shadow(engine, sink, limits.request_seconds),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.warming.start()
        yield
        if served.shadow is not None:
            served.shadow.close()
        await asyncio.to_thread(engine.close, 0.0)
        if sessions is not None:
            sessions.close()

    app = FastAPI(title="bowerbird", openapi_url=None, lifespan=lifespan)
    app.state.served = served
    app.state.engine = engine
    app.add_middleware(Guard, local=local, keys=keys, limits=limits, origins=origins)
    app.add_exception_handler(BowerbirdError, refuse)
    app.add_exception_handler(HTTPException, refuse_path)
    for topic in routes.topics():
        topic.add(app, served)
    return app
