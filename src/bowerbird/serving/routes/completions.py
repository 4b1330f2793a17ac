"""`POST /v1/completions`."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bowerbird.kinds.loaded import Model
from bowerbird.sampling.state import StreamState
from bowerbird.serving.answer import Answer
from bowerbird.serving.asked import validated
from bowerbird.serving.bodies import read_json_body
from bowerbird.serving.completions import CompletionBody, asked_completion, read_prompts
from bowerbird.serving.making import check_kind
from bowerbird.serving.routes.telling import tell
from bowerbird.serving.served import Served
from bowerbird.serving.shapes import COMPLETION


def add(app: FastAPI, served: Served) -> None:
    async def complete(request: Request) -> Response:
        body = validated(await read_json_body(request, limits=served.limits), CompletionBody)
        asked, prompts = asked_completion(body, served.limits, served.room)

        def make(model: Model, start: StreamState | None) -> Answer:
            check_kind(model, asked.model, "text", "not text")
            read = read_prompts(prompts, model)
            return Answer(asked, read, model, COMPLETION, served.limits, start, served.keeps_text)

        return await tell(request, served, asked, sum(map(len, prompts)), make)

    app.add_route("/v1/completions", complete, methods=["POST"])
