"""`POST /v1/chat/completions`."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bowerbird.kinds.loaded import Model
from bowerbird.sampling.state import StreamState
from bowerbird.serving.answer import Answer
from bowerbird.serving.asked import validated
from bowerbird.serving.bodies import read_json_body
from bowerbird.serving.chat import ChatBody, asked_chat, read_messages
from bowerbird.serving.making import check_kind
from bowerbird.serving.routes.telling import tell
from bowerbird.serving.served import Served
from bowerbird.serving.shapes import CHAT


def add(app: FastAPI, served: Served) -> None:
    async def chat(request: Request) -> Response:
        body = validated(await read_json_body(request, limits=served.limits), ChatBody)
        asked = asked_chat(body, served.limits)

        def make(model: Model, start: StreamState | None) -> Answer:
            check_kind(model, asked.model, "text", "not text")
            read = read_messages(body.messages, model, asked.model)
            return Answer(asked, read, model, CHAT, served.limits, start, served.keeps_text)

        return await tell(request, served, asked, sum(len(turn.words) for turn in body.messages), make)

    app.add_route("/v1/chat/completions", chat, methods=["POST"])
