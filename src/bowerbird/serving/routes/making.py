"""What the paths have in common that answer all at once: a form for the body, and what makes jobs of it."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from bowerbird.sampling.session import FinishReason
from bowerbird.serving.asked import validated
from bowerbird.serving.bodies import read_json_body
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.recording import leave_note, note_of_things
from bowerbird.serving.routes.replies import left, owner_of, reply, unless_gone
from bowerbird.serving.served import Served
from bowerbird.serving.ticket import Ticket


async def made_whole(request: Request, served: Served, form: Any, ask: Any) -> Response:
    """The answer of such a path; `ask` makes `jobs` of a body in its form, and of what was made a `whole` answer."""
    body = validated(await read_json_body(request, limits=served.limits), form)
    engine = served.engine
    model = engine.model(body.model)
    request.state.model = body.model
    asked = await asyncio.to_thread(ask, body, model)
    if len(asked.jobs) > served.room:
        raise BadRequest(
            f"`n` is {len(asked.jobs)}; {served.room} is the most here", param="n", code="invalid_value"
        )
    ticket = engine.submit_jobs(
        body.model,
        asked.jobs,
        loop=asyncio.get_running_loop(),
        owner=owner_of(request),
        seconds=served.limits.request_seconds,
        model=model,
    )
    request.state.tokens = (asked.prompt_tokens, 0)
    made = None
    try:
        made = await unless_gone(request.receive, gathered(ticket))
    finally:
        ticket.cancel()
        if served.sink is not None:
            about = (request.state.request_id, model.digest, asked, ticket, made, served.sink)
            leave_note(request.state, note_of_things, *about)
    if made is None:
        return left()
    texts, ends, tokens = made
    request.state.tokens = (asked.prompt_tokens, tokens)
    return reply(await asyncio.to_thread(asked.whole, texts, ends, tokens))


async def gathered(ticket: Ticket) -> tuple[list[str], list[FinishReason | None], int]:
    """Each sample's text and why it ended, and the tokens of all."""
    texts: list[list[str]] = [[] for _ in range(ticket.samples)]
    ends: list[FinishReason | None] = [None] * ticket.samples
    tokens = 0
    async for piece in ticket:
        texts[piece.index].append(piece.text)
        ends[piece.index] = piece.finished
        tokens += piece.tokens
    return ["".join(parts) for parts in texts], ends, tokens
