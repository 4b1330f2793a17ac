"""`/health`, `/ready` and `/metrics`: whether this server lives, takes requests, and what it has done."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bowerbird.base.errors import NotFound
from bowerbird.serving.exchange import Exchanges, Recorder
from bowerbird.serving.metrics import CONTENT_TYPE, Metrics
from bowerbird.serving.recording import Recording
from bowerbird.serving.routes.replies import reply
from bowerbird.serving.served import Served
from bowerbird.serving.warming import Warming


def add(app: FastAPI, served: Served) -> None:
    """Also makes `app.state.exchanges`, whose listeners are told of every request, and `app.state.warming`,
    which the lifespan starts. To be called after the guard was added: what it refuses is recorded too."""
    engine = served.engine
    metrics = served.observer if isinstance(served.observer, Metrics) else None
    warming = Warming(lambda: engine.models)
    exchanges = Exchanges()
    app.state.warming = warming
    app.state.exchanges = exchanges
    app.add_middleware(Recorder, exchanges=exchanges)
    if metrics is not None:
        metrics.follow(engine, served.sink)
        exchanges.listeners.append(metrics)
    if served.sink is not None:
        exchanges.listeners.append(Recording(served.sink, engine))

    async def health(request: Request) -> Response:
        return reply({"status": "ok" if engine.alive else "failed"}, 200 if engine.alive else 503)

    async def ready(request: Request) -> Response:
        state = "stopping" if not engine.ready else "ready" if warming.state == "warm" else warming.state
        return reply({"status": state, "models": list(engine.models)}, 200 if state == "ready" else 503)

    async def tell_metrics(request: Request) -> Response:
        if metrics is None:
            raise NotFound("this server keeps no metrics")
        return Response(await asyncio.to_thread(metrics.text), headers={"Content-Type": CONTENT_TYPE})

    app.add_route("/health", health, methods=["GET"])
    app.add_route("/ready", ready, methods=["GET"])
    app.add_route("/metrics", tell_metrics, methods=["GET"])
