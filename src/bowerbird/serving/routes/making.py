"""What the paths have in common that answer all at once: a form for the body, and what makes jobs of it."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import FinishReason
from bowerbird.serving.bodies import read_json_body
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.making import Gathering
from bowerbird.serving.recording import leave_note, note_of_things
from bowerbird.serving.routes.replies import left, owner_of, reply, unless_gone
from bowerbird.serving.served import Served
from bowerbird.serving.shadow import Asking, Copy
from bowerbird.serving.ticket import Ticket
from bowerbird.serving.validation import validated


async def made_whole(request: Request, served: Served, form: Any, ask: Any) -> Response:
    """The answer of such a path; `ask` makes `jobs` of a body in its form, and of what was made a `whole` answer."""
    body = validated(await read_json_body(request, limits=served.limits), form)
    engine = served.engine
    model = engine.model(body.model)
    request.state.model = body.model
    trial = served.challengers.of(body.model, model)
    if trial is not None:
        model, request.state.arm = trial.of_caller(owner_of(request), model)
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
    if trial is not None and served.shadow is not None and trial.is_copied():
        served.shadow.offer(_copy(request, served, body, trial.model, ask))
    texts, ends, tokens = made
    request.state.tokens = (asked.prompt_tokens, tokens)
    return reply(await asyncio.to_thread(asked.whole, texts, ends, tokens))


def _copy(request: Request, served: Served, body: Any, challenger: Model, ask: Any) -> Copy:
    """The same request for a challenger."""
    request_id = str(request.state.request_id)

    def asking(model: Model) -> Asking:
        asked = ask(body, model)
        gathering = Gathering(len(asked.jobs))
        sink = served.sink
        assert sink is not None, "a shadow has one"
        return Asking(
            asked.jobs,
            gathering.take,
            lambda ticket: note_of_things(request_id, model.digest, asked, ticket, gathering.made(), sink),
            lambda: (asked.prompt_tokens, gathering.tokens),
        )

    kind = challenger.kind.name
    return Copy(body.model, challenger, request_id, kind, request.url.path, owner_of(request), asking)


async def gathered(ticket: Ticket) -> tuple[list[str], list[FinishReason | None], int]:
    """Each sample's text and why it ended, and the tokens of all."""
    gathering = Gathering(ticket.samples)
    async for piece in ticket:
        gathering.take(piece)
    return gathering.made()
