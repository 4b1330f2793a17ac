"""`POST /v1/images/generations`."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bowerbird.serving.images import ImageBody, Images
from bowerbird.serving.routes.making import made_whole
from bowerbird.serving.served import Served


def add(app: FastAPI, served: Served) -> None:
    async def draw(request: Request) -> Response:
        return await made_whole(request, served, ImageBody, Images.of)

    app.add_route("/v1/images/generations", draw, methods=["POST"])
