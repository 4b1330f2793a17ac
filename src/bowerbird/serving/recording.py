"""From requests that have ended to records of them: what the paths note of their answers, and what all have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bowerbird.sampling.session import FinishReason
from bowerbird.serving.answer import Answer, Prompt
from bowerbird.serving.delivery import report
from bowerbird.serving.engine import Engine
from bowerbird.serving.exchange import Exchange
from bowerbird.serving.sink import JOINT, MOST_CHARACTERS, AnsweredRequest, EventSink, Note
from bowerbird.serving.ticket import Ticket

KIND_OF = {
    "/v1/completions": "text",
    "/v1/chat/completions": "text",
    "/v1/images/generations": "image",
    "/v1/melodies/generations": "melody",
}
"""What is made at each path whose requests are recorded."""
LEFT = "client_closed_request"
_SAMPLING = ("temperature", "top_p", "top_k", "min_p")
_PENALTIES = {"repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
"""And what each is where it changes nothing."""
_NOT_SETTINGS = {"model", "prompt", "n", "seed", "size", "response_format", "output_format", "user"}


class Recording:
    """A listener of exchanges that hands a record of each one to the sink, if it asked for something to be made."""

    def __init__(self, sink: EventSink, engine: Engine):
        self._sink = sink
        self._engine = engine

    def __call__(self, exchange: Exchange) -> None:
        kind = KIND_OF.get(exchange.path)
        if kind is None or exchange.method != "POST":
            return
        try:
            self._sink.record(self._record(exchange, kind))
        except Exception as error:
            report("a request was not recorded", error)

    def _record(self, exchange: Exchange, kind: str) -> AnsweredRequest:
        note = exchange.note
        if note is None:  # it was refused before there was an answer
            model = self._engine.models.get(exchange.model)
            note = Note(exchange.request_id, model.digest if model is not None else "")
        return {
            "id": note.id,
            "time": exchange.began,
            "model": exchange.model,
            "digest": note.digest,
            "kind": kind,
            "path": exchange.path,
            "owner": exchange.owner,
            "session": note.session,
            "arm": exchange.arm,
            "status": exchange.status,
            "code": exchange.code or (LEFT if exchange.left else ""),
            "finish_reason": note.finish_reason,
            "prompt_tokens": exchange.prompt_tokens,
            "completion_tokens": exchange.completion_tokens,
            "seconds": exchange.seconds,
            "first_token_seconds": note.first_token_seconds,
            "settings": note.settings,
            "prompt": note.prompt,
            "output": note.output,
        }


def leave_note(state: Any, note_of: Callable[..., Note], *about: Any) -> None:
    """Leave a note of an answer in its request's state, or none where that goes wrong: it is no part of the answer."""
    try:
        state.note = note_of(*about)
    except Exception as error:
        report("an answer could not be noted", error)


def note_of_text(answer: Answer, ticket: Ticket | None, sink: EventSink) -> Note:
    """Of a completion or a chat, whole or broken off."""
    asked = answer.asked
    choices = list(answer.given())
    settings = {name: asked.fields[name] for name in _SAMPLING if asked.fields[name] is not None}
    settings |= {
        name: asked.fields[name] for name, usual in _PENALTIES.items() if asked.fields[name] != usual
    }
    seed = answer.jobs[0].content.seed if answer.jobs else asked.fields["seed"]
    settings |= {"max_tokens": asked.tokens, "n": asked.n, "seed": seed, "stream": asked.stream}
    if len(answer.prompts) > 1:
        settings["prompts"] = len(answer.prompts)
    note = Note(
        answer.id,
        answer.digest,
        session=asked.session or "",
        finish_reason=_reasons(choice.finished for choice in choices),
        first_token_seconds=None if ticket is None else ticket.first_token_seconds,
        settings=settings,
    )
    if sink.wants_text(note.id):
        note.prompt = _text([said(prompt) for prompt in answer.prompts])
        note.output = _text([choice.text for choice in choices])
    return note


def note_of_things(
    request_id: str,
    digest: str,
    asked: Any,
    ticket: Ticket | None,
    made: tuple[Any, ...] | None,
    sink: EventSink,
) -> Note:
    """Of pictures or melodies.

    Args:
        request_id: stands for the answer's, which has none.
        asked: `Images` or `Melodies`.
        ticket: None where the engine did not take it.
        made: texts of the samples, why each ended, and tokens; None where they were not all made.
    """
    texts: Sequence[str] = made[0] if made else ()
    settings = asked.body.model_dump(exclude=_NOT_SETTINGS, exclude_none=True)
    settings |= {"n": asked.request.n, "seed": asked.request.seed}
    label = getattr(asked.request, "label", None)
    if label is not None:
        settings["label"] = label  # a class that the model knows, not a caller's words
    note = Note(
        request_id,
        digest,
        finish_reason=_reasons(made[1]) if made else "",
        first_token_seconds=None if ticket is None else ticket.first_token_seconds,
        settings=settings,
    )
    if sink.wants_text(note.id):
        note.prompt = _text([asked.body.prompt or ""])
        note.output = _text(texts) if any(texts) else None
    return note


def said(prompt: Prompt) -> str:
    """The words of a prompt: of a chat, the user's since the model's last turn, for the rest was recorded before."""
    new: list[str] = []
    for role, words in reversed(prompt.turns):
        if role == "assistant":
            break
        if role == "user":
            new.append(words)
    return JOINT.join(reversed(new)) if prompt.turns else prompt.text


def _reasons(ends: Iterable[FinishReason | None]) -> str:
    return ",".join(sorted({end for end in ends if end is not None}))


def _text(parts: Sequence[str]) -> str:
    """Joined, and cut between words: half an address would not be known as one when it is masked."""
    text = JOINT.join(parts)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS].rpartition(" ")[0]
