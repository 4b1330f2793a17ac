"""From a question for text to its answer: asked of the engine, gathered and told whole, or as events as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from bowerbird.base.errors import BowerbirdError
from bowerbird.kinds.loaded import Model
from bowerbird.sampling.state import StreamState
from bowerbird.serving.answer import Answer
from bowerbird.serving.asked import Asked
from bowerbird.serving.errors import BadRequest, error_body
from bowerbird.serving.feedback import Remembered
from bowerbird.serving.recording import leave_note, note_of_text
from bowerbird.serving.rereading import reread
from bowerbird.serving.routes.replies import EventStream, left, owner_of, reply, unless_gone
from bowerbird.serving.served import Served
from bowerbird.serving.sessions import Use
from bowerbird.serving.shadow import Asking, Copy
from bowerbird.serving.shapes import DONE, event
from bowerbird.serving.ticket import Ticket

_LIGHT = 2_048
"""Prompts of fewer characters or tokens in all, samples counted in, are encoded at once: a hand-over costs more."""

Make = Callable[[Model, StreamState | None], Answer]


@dataclass
class Telling:
    """One answer under way, and what is to be done when it is over."""

    request: Request
    served: Served
    model: Model
    answer: Answer
    weight: int
    """Characters or tokens of its prompts."""
    ticket: Ticket | None
    """None: there was nothing to make."""
    use: Use | None
    remembered: Remembered | None
    copy: Copy | None = None
    """To be asked of a challenger too, once it is answered."""

    async def whole(self) -> dict[str, Any]:
        """The answer, once it is all there."""
        await self._gather()
        return self.answer.whole()

    async def events(self) -> AsyncIterator[bytes]:
        """The stream of an answer. What fails once it has begun is told in it, as an event of its own."""
        answer = self.answer
        try:
            if answer.asked.best_of > answer.asked.n or self.ticket is None:
                await self._gather()
                yield answer.whole_events()
            else:
                while news := await self.ticket.arrival():
                    yield b"".join([answer.event(piece) for piece in news])
                await self._keep()
            if answer.asked.include_usage:
                yield answer.events.usage(answer.usage())
        except BowerbirdError as error:
            yield event(error_body(error))
        yield DONE

    async def _gather(self) -> None:
        if self.ticket is not None:
            async for piece in self.ticket:
                self.answer.take(piece)
        await self._keep()

    async def _keep(self) -> None:
        """Put the state where the session is, and the words where a verdict may look for them."""
        choices = self.answer.choices
        if any(choice.finished is None for choice in choices):
            return  # its asker has left
        if self.remembered is not None:
            self.remembered.add(self.answer, owner_of(self.request))
        if self.use is not None:
            await asyncio.to_thread(self._keep_session, self.use)

    def _keep_session(self, use: Use) -> None:
        """A session holds what was told: a stop string was made, and read, and was not."""
        answer = self.answer
        [choice], [job], [prompt] = answer.choices, answer.jobs, answer.prompts
        state = choice.state
        if choice.finished == "stop" and answer.asked.fields["stop"]:
            state = reread(self.model, job.content, choice.text)
        assert state is not None, "the engine keeps a state that is asked for"
        use.keep(state, (len(prompt.text) or self.weight) + choice.length - len(choice.echo))

    def end(self) -> None:
        """Let go of what is held, and leave word for the log and the events. Whatever happened, it is called once."""
        if self.ticket is not None:
            self.ticket.cancel()
        if self.use is not None:
            self.use.close()
        usage = self.answer.usage()
        self.request.state.tokens = (usage["prompt_tokens"], usage["completion_tokens"])
        if self.served.sink is not None:
            leave_note(self.request.state, note_of_text, self.answer, self.ticket, self.served.sink)
        answered = all(choice.finished is not None for choice in self.answer.choices)
        if self.copy is not None and self.served.shadow is not None and answered:
            self.served.shadow.offer(self.copy)


async def tell(request: Request, served: Served, asked: Asked, weight: int, make: Make) -> Response:
    """Answer a request for text.

    Args:
        request: whose body was read.
        served: by whom.
        asked: what for.
        weight: characters or tokens of its prompts.
        make: the answer from a model, and from what that remembers.
    """
    telling = await _begun(request, served, asked, weight, make)
    if asked.stream:
        return EventStream(telling.events(), telling.ticket, telling.end)
    try:
        made = await unless_gone(request.receive, telling.whole())
        return reply(made) if made is not None else left()
    finally:
        telling.end()


async def _begun(request: Request, served: Served, asked: Asked, weight: int, make: Make) -> Telling:
    engine, owner, model_id = served.engine, owner_of(request), asked.model
    model = engine.model(model_id)
    request.state.model = model_id
    trial = served.challengers.of(model_id, model)
    use: Use | None = None
    if asked.session is not None:
        store = served.sessions
        if store is None:
            raise BadRequest("this server keeps no sessions", param="session", code="unsupported_parameter")
        model_id = await asyncio.to_thread(store.model_for, asked.session, owner, model_id, engine.models)
        model = engine.model(model_id)
        if trial is not None and model_id == asked.model:
            going_on = (store, asked.session, owner, model)
            model, request.state.arm = await asyncio.to_thread(trial.of_session, *going_on)
        use = await asyncio.to_thread(store.use, asked.session, owner, model, model_id)
    elif trial is not None:
        model, request.state.arm = trial.of_caller(owner, model)
    try:
        start = None if use is None else use.start
        if weight + 64 * asked.best_of <= _LIGHT:
            answer = make(model, start)
        else:
            answer = await asyncio.to_thread(make, model, start)
        ticket: Ticket | None = None
        if answer.jobs:
            ticket = engine.submit_jobs(
                model_id,
                answer.jobs,
                loop=asyncio.get_running_loop(),
                owner=owner,
                seconds=served.limits.request_seconds,
                model=model,
            )
    except BaseException:
        if use is not None:
            use.close()
        raise
    remembered = None if served.feedback is None else served.feedback.remembered
    copy = None
    if trial is not None and asked.session is None and served.shadow is not None and trial.is_copied():
        copy = _copy(request, served, answer, trial.model, make)
    return Telling(request, served, model, answer, weight, ticket, use, remembered, copy)


def _copy(request: Request, served: Served, answered: Answer, challenger: Model, make: Make) -> Copy:
    """The same request for a challenger, which answers it whole."""

    def asking(model: Model) -> Asking:
        answer = make(model, None)
        answer.keeps_text = True
        answer.head["id"] = answered.id
        sink = served.sink
        assert sink is not None, "a shadow has one"
        usage = answer.usage
        return Asking(
            answer.jobs,
            answer.take,
            lambda ticket: note_of_text(answer, ticket, sink),
            lambda: (usage()["prompt_tokens"], usage()["completion_tokens"]),
        )

    return Copy(
        answered.asked.model, challenger, answered.id, "text", request.url.path, owner_of(request), asking
    )
