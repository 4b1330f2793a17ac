"""`POST /v1/completions`."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bowerbird.serving.answer import Answer
from bowerbird.serving.asked import checked
from bowerbird.serving.guards import read_json_body
from bowerbird.serving.routes.replies import EventStream, left, reply, unless_gone
from bowerbird.serving.routes.telling import events, whole
from bowerbird.serving.served import Served


def add(app: FastAPI, served: Served) -> None:
    async def complete(request: Request) -> Response:
        asked = checked(await read_json_body(request, limits=served.limits))
        model = served.engine.model(asked.model)
        answer = await asyncio.to_thread(Answer.of, asked, model)
        ticket = served.engine.submit_jobs(asked.model, answer.jobs, loop=asyncio.get_running_loop())
        if asked.stream:
            return EventStream(events(answer, ticket), ticket)
        made = await unless_gone(request.receive, whole(answer, ticket), ticket)
        return reply(made) if made is not None else left()

    app.add_route("/v1/completions", complete, methods=["POST"])
