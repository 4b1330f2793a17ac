"""`POST /v1/feedback`."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bowerbird.serving.asked import validated
from bowerbird.serving.bodies import read_json_body
from bowerbird.serving.feedback import FeedbackBody
from bowerbird.serving.routes.replies import owner_of, reply
from bowerbird.serving.served import Served


def add(app: FastAPI, served: Served) -> None:
    """Nothing where none is kept."""
    if served.feedback is None:
        return
    feedback = served.feedback

    async def take(request: Request) -> Response:
        body = validated(await read_json_body(request, limits=served.limits), FeedbackBody)
        digest = None if body.model is None else served.engine.model(body.model).digest
        record = feedback.record(body, owner_of(request), digest)
        request.state.model = record["model"]
        await asyncio.to_thread(feedback.write, record)
        told = {name: record[name] for name in ("id", "model", "rating")}
        return reply({"object": "feedback", "created": int(record["time"]), **told})

    app.add_route("/v1/feedback", take, methods=["POST"])
