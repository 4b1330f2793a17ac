"""`/health` and `/ready`: whether this server lives, and whether it takes requests."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bowerbird.serving.routes.replies import reply
from bowerbird.serving.served import Served


def add(app: FastAPI, served: Served) -> None:
    engine = served.engine

    async def health(request: Request) -> Response:
        return reply({"status": "ok" if engine.alive else "failed"}, 200 if engine.alive else 503)

    async def ready(request: Request) -> Response:
        state = "ready" if engine.ready else "stopping"
        return reply({"status": state, "models": list(engine.models)}, 200 if engine.ready else 503)

    app.add_route("/health", health, methods=["GET"])
    app.add_route("/ready", ready, methods=["GET"])
