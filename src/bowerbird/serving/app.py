"""The HTTP face of the engine, in OpenAI's shapes. It translates, and decides nothing about models."""

# No `from __future__ import annotations`: FastAPI reads the handlers' annotations, and their types are
# imported inside the factory, where a string could not be resolved.

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from bowerbird.base.errors import BowerbirdError, MissingExtra
from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import FinishReason
from bowerbird.serving.answer import DONE, Answer, event
from bowerbird.serving.asked import checked, validated
from bowerbird.serving.engine import QUEUE, SLOTS, Engine
from bowerbird.serving.errors import error_body, shape, status_code
from bowerbird.serving.guards import Guard, json_bytes, read_json_body
from bowerbird.serving.images import ImageBody, Images
from bowerbird.serving.keys import KeyRing
from bowerbird.serving.limits import LIMITS, Limits
from bowerbird.serving.melodies import Melodies, MelodyBody
from bowerbird.serving.origins import NO_ORIGINS, Origins
from bowerbird.serving.page import CONTENT_SECURITY, page
from bowerbird.serving.ticket import Ticket

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app(
    models: Mapping[str, Model],
    *,
    slots: int = SLOTS,
    queue: int = QUEUE,
    local: bool = False,
    keys: KeyRing | None = None,
    limits: Limits = LIMITS,
    origins: Origins = NO_ORIGINS,
) -> "FastAPI":
    """An app that answers with these models; its engine is `app.state.engine` and ends with its lifespan.

    Args:
        models: loaded models by the id they are asked for by.
        slots: samples of one model made at the same time.
        queue: samples of one model that may wait; beyond it the answer is 429.
        local: answer only when called by a name of this machine.
        keys: who may ask; None: everybody.
        limits: how large and how frequent requests may be.
        origins: of web pages that may ask beside the server's own.

    Raises:
        MissingExtra: FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI, Request, Response
        from fastapi.responses import HTMLResponse, StreamingResponse
        from starlette.exceptions import HTTPException
        from starlette.types import Receive, Scope, Send
    except ImportError as error:
        raise MissingExtra("serving", "serve") from error

    engine = Engine(models, slots=slots, queue=queue)
    since = int(time.time())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.close, 0.0)

    app = FastAPI(title="bowerbird", openapi_url=None, lifespan=lifespan)
    app.state.engine = engine
    app.add_middleware(Guard, local=local, keys=keys, limits=limits, origins=origins)

    def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        return Response(json_bytes(value), status, dict(headers or {}), "application/json")

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, BowerbirdError)
        wait = getattr(error, "retry_after_seconds", None)
        return reply(error_body(error), error.http_status, {"Retry-After": str(wait)} if wait else None)

    async def refuse_path(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        what = {404: f"there is nothing at {request.url.path[:100]}", 405: "this path takes another method"}
        message = what.get(error.status_code, str(error.detail))
        return reply(_refused(error.status_code, message), error.status_code, error.headers)

    app.add_exception_handler(BowerbirdError, refuse)
    app.add_exception_handler(HTTPException, refuse_path)

    class EventStream(StreamingResponse):
        """Lets the request's slots go when its asker leaves, whatever the asker was told by then."""

        def __init__(self, answer: Answer, ticket: Ticket):
            headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            super().__init__(_events(answer, ticket), headers=headers, media_type="text/event-stream")
            self.ticket = ticket

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:
                self.ticket.cancel()

    @app.get("/v1/models")
    async def list_models() -> Response:
        return reply({"object": "list", "data": [_described(model_id, since) for model_id in engine.models]})

    @app.get("/v1/models/{model_id:path}")
    async def get_model(model_id: str) -> Response:
        engine.model(model_id)
        return reply(_described(model_id, since))

    @app.post("/v1/completions")
    async def complete(request: Request) -> Response:
        asked = checked(await read_json_body(request, limits=limits))
        model = engine.model(asked.model)
        answer = await asyncio.to_thread(Answer.of, asked, model)
        ticket = engine.submit_jobs(asked.model, answer.jobs, loop=asyncio.get_running_loop())
        if asked.stream:
            return EventStream(answer, ticket)
        whole = await _unless_gone(request.receive, _whole(answer, ticket), ticket)
        return reply(whole) if whole is not None else Response(status_code=499)

    async def made_whole(request: Request, form: Any, ask: Any) -> Response:
        """The answer of a path that gives all at once; `ask` makes jobs of a body in its form."""
        body = validated(await read_json_body(request, limits=limits), form)
        asked = await asyncio.to_thread(ask, body, engine.model(body.model))
        ticket = engine.submit_jobs(body.model, asked.jobs, loop=asyncio.get_running_loop())
        made = await _unless_gone(request.receive, _gathered(ticket), ticket)
        if made is None:
            return Response(status_code=499)
        return reply(await asyncio.to_thread(asked.whole, *made))

    @app.post("/v1/melodies/generations")
    async def compose(request: Request) -> Response:
        return await made_whole(request, MelodyBody, Melodies.of)

    @app.post("/v1/images/generations")
    async def draw(request: Request) -> Response:
        return await made_whole(request, ImageBody, Images.of)

    @app.get("/health")
    async def health() -> Response:
        return reply({"status": "ok" if engine.alive else "failed"}, 200 if engine.alive else 503)

    @app.get("/ready")
    async def ready() -> Response:
        state = "ready" if engine.ready else "stopping"
        return reply({"status": state, "models": list(engine.models)}, 200 if engine.ready else 503)

    @app.get("/")
    async def front() -> Response:
        return HTMLResponse(
            page({name: model.kind.name for name, model in engine.models.items()}),
            headers={"Content-Security-Policy": CONTENT_SECURITY},
        )

    return app


def _refused(status: int, message: str) -> dict[str, Any]:
    return shape(status, message, code=status_code(status))


def _described(model_id: str, since: int) -> dict[str, Any]:
    return {"id": model_id, "object": "model", "created": since, "owned_by": "bowerbird"}


async def _whole(answer: Answer, ticket: Ticket) -> dict[str, Any]:
    texts, ends, answer.completion_tokens = await _gathered(ticket)
    return answer.whole(texts, ends)


async def _gathered(ticket: Ticket) -> tuple[list[str], list[FinishReason | None], int]:
    """Each sample's text and why it ended, and the tokens of all."""
    texts: list[list[str]] = [[] for _ in range(ticket.samples)]
    ends: list[FinishReason | None] = [None] * ticket.samples
    tokens = 0
    async for piece in ticket:
        texts[piece.index].append(piece.text)
        ends[piece.index] = piece.finished
        tokens += piece.tokens
    return ["".join(parts) for parts in texts], ends, tokens


async def _events(answer: Answer, ticket: Ticket) -> AsyncIterator[bytes]:
    """The stream of an answer. What fails once it has begun is told in it, as an event of its own."""
    try:
        while news := await ticket.arrival():
            answer.completion_tokens += sum(piece.tokens for piece in news)
            yield b"".join(answer.event(piece.index, piece.text, piece.finished) for piece in news)
        if answer.asked.include_usage:
            yield answer.usage_event()
    except BowerbirdError as error:
        yield event(error_body(error))
    yield DONE


async def _unless_gone(receive: Any, making: Any, ticket: Ticket) -> Any:
    """What `making` gives, or None where its asker hangs up first; then its slots are let go."""

    async def hung_up() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    made, gone = asyncio.create_task(making), asyncio.create_task(hung_up())
    try:
        await asyncio.wait({made, gone}, return_when=asyncio.FIRST_COMPLETED)
        return made.result() if made.done() else None
    finally:
        ticket.cancel()
        for task in (made, gone):
            task.cancel()
        await asyncio.gather(made, gone, return_exceptions=True)
