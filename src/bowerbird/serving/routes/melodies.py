"""`POST /v1/melodies/generations`."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bowerbird.serving.melodies import Melodies, MelodyBody
from bowerbird.serving.routes.making import made_whole
from bowerbird.serving.served import Served


def add(app: FastAPI, served: Served) -> None:
    async def compose(request: Request) -> Response:
        return await made_whole(request, served, MelodyBody, partial(Melodies.of, limits=served.limits))

    app.add_route("/v1/melodies/generations", compose, methods=["POST"])
