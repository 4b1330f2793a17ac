"""From a ticket's pieces to an answer: gathered and whole, or as events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from bowerbird.base.errors import BowerbirdError
from bowerbird.sampling.session import FinishReason
from bowerbird.serving.answer import DONE, Answer, event
from bowerbird.serving.errors import error_body
from bowerbird.serving.ticket import Ticket


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


async def whole(answer: Answer, ticket: Ticket) -> dict[str, Any]:
    """The answer, once it is all there."""
    texts, ends, answer.completion_tokens = await gathered(ticket)
    return answer.whole(texts, ends)


async def events(answer: Answer, ticket: Ticket) -> AsyncIterator[bytes]:
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
