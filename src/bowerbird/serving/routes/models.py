"""`GET /v1/models` and `GET /v1/models/{id}`: what is served here."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bowerbird.serving.described import described
from bowerbird.serving.routes.replies import reply
from bowerbird.serving.served import Served


def add(app: FastAPI, served: Served) -> None:
    async def list_models(request: Request) -> Response:
        models = served.engine.models
        data = [described(name, model, served) for name, model in models.items()]
        return reply({"object": "list", "data": data})

    async def get_model(request: Request) -> Response:
        name = str(request.path_params["model_id"])
        return reply(described(name, served.engine.model(name), served))

    app.add_route("/v1/models", list_models, methods=["GET"])
    app.add_route("/v1/models/{model_id:path}", get_model, methods=["GET"])
