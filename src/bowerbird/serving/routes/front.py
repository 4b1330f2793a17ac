"""The page at `/`."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bowerbird.serving.page import CONTENT_SECURITY, page
from bowerbird.serving.served import Served


def add(app: FastAPI, served: Served) -> None:
    async def front(request: Request) -> Response:
        kinds = {name: model.kind.name for name, model in served.engine.models.items()}
        return HTMLResponse(page(kinds), headers={"Content-Security-Policy": CONTENT_SECURITY})

    app.add_route("/", front, methods=["GET"])
