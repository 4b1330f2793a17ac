"""What the paths have in common that answer all at once: a form for the body, and what makes jobs of it."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from bowerbird.serving.asked import validated
from bowerbird.serving.guards import read_json_body
from bowerbird.serving.routes.replies import left, reply, unless_gone
from bowerbird.serving.routes.telling import gathered
from bowerbird.serving.served import Served


async def made_whole(request: Request, served: Served, form: Any, ask: Any) -> Response:
    """The answer of such a path; `ask` makes jobs of a body in its form."""
    body = validated(await read_json_body(request, limits=served.limits), form)
    asked = await asyncio.to_thread(ask, body, served.engine.model(body.model))
    ticket = served.engine.submit_jobs(body.model, asked.jobs, loop=asyncio.get_running_loop())
    made = await unless_gone(request.receive, gathered(ticket), ticket)
    if made is None:
        return left()
    return reply(await asyncio.to_thread(asked.whole, *made))
