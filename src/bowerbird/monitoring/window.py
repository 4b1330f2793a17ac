"""What each request of a stream is like, measured once, as the windows that are compared are made of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bowerbird.base.errors import DataError
from bowerbird.evaluation.image_traits import image_traits
from bowerbird.evaluation.melody_traits import cut_tune, melody_traits
from bowerbird.evaluation.reference import LADDER, Reference
from bowerbird.evaluation.traits import Alphabet, Traits, cut, size, traits
from bowerbird.monitoring.events import Event

if TYPE_CHECKING:
    from bowerbird.data.dataset import Dataset
    from bowerbird.data.tune import Tune
    from bowerbird.kinds.loaded import Model

PROMPTS, OUTPUTS, TRAFFIC = "prompts", "outputs", "traffic"
"""What a statistic is of; its name begins with it, as `prompts.surprise`."""
_CUT = 256
"""Bytes or notes that are looked at where no reference says how many."""
_AT_ONCE = 64
"""Pictures made again side by side."""
_OTHER_SETTINGS = (
    *("top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty", "logit_bias"),
)


@dataclass(frozen=True)
class Observed:
    """One request in numbers."""

    number: int
    """Its place in the store."""
    time: float
    """Unix seconds."""
    caller: str
    """Its session, else its key; where there is neither, a caller of its own."""
    named: bool
    """Whether the caller is known."""
    usual: bool
    """It was answered at the settings that the reference's samples were made at."""
    prompt: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    """By statistic."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """By statistic."""
    sizes: Mapping[str, float] = field(default_factory=dict)
    """Of the part of the prompt, and of the output, that was measured: bytes, or notes."""


def observe(
    events: Sequence[Event], model: Model, reference: Reference | None, training: Dataset | None = None
) -> list[Observed]:
    """Measure requests, in their order.

    Args:
        events: of this model.
        model: for the surprise of their prompts.
        reference: says how much of a text is measured, and which characters are usual.
        training: the model's dataset, for the novelty of outputs; None: it is not measured.
    """
    told: list[dict[str, dict[str, Any]]] = [_counted(event) for event in events]
    kind = model.kind.name
    answered = [at for at, event in enumerate(events) if not event.code and event.status < 400]
    if kind == "image":
        _pictures(answered, events, told, model)
    else:
        measure = _texts if kind == "text" else _tunes
        for side in (PROMPTS, OUTPUTS):
            measure(side, answered, events, told, model, reference, training)
    return [_observed(event, found) for event, found in zip(events, told, strict=True)]


def _counted(event: Event) -> dict[str, dict[str, Any]]:
    """What every request tells, whatever the kind."""
    numbers: dict[str, float] = {}
    if event.prompt is not None and event.kind == "text":
        numbers["traffic.prompt_length"] = float(size(event.prompt))
    if event.completion_tokens and not event.code:
        numbers["traffic.output_length"] = float(event.completion_tokens)
    return {
        "numbers": numbers,
        "classes": {"traffic.failures": "failed" if event.failed else "answered"},
        "sizes": {},
    }


def _texts(
    side: str,
    answered: Iterable[int],
    events: Sequence[Event],
    told: list[dict[str, dict[str, Any]]],
    model: Model,
    reference: Reference | None,
    training: Dataset | None,
) -> None:
    """Measure the prompts or outputs that are long enough, each cut to what the reference reaches."""
    longest = _longest(side, reference)
    alphabet = Alphabet(reference.alphabet) if reference is not None and reference.alphabet else None
    places, texts = [], []
    for at, text in _said(side, answered, events):
        if size(text) >= LADDER[0]:
            places.append(at)
            texts.append(cut(text, longest))
    extra: list[dict[str, float]] = [{} for _ in texts]
    if side == PROMPTS and texts:
        from bowerbird.kinds.surprise import surprises

        for found, spent in zip(extra, surprises(model, texts), strict=True):
            found["surprise"] = spent.at(spent.size)
    if side == OUTPUTS and texts and training is not None:
        from bowerbird.runs.reference import novelties

        for found, new in zip(extra, novelties(texts, training), strict=True):
            found["novelty"] = float(new.mean())
    for at, text, found in zip(places, texts, extra, strict=True):
        known = dict(traits(text, alphabet or Alphabet({})))
        if alphabet is None:
            known = {name: value for name, value in known.items() if name not in ("alphabet", "unseen")}
        _add(told[at], side, {**known, **found}, size(text))


def _tunes(
    side: str,
    answered: Iterable[int],
    events: Sequence[Event],
    told: list[dict[str, dict[str, Any]]],
    model: Model,
    reference: Reference | None,
    training: Dataset | None,
) -> None:
    """Measure the tunes that can be read and have notes enough; what cannot be read is passed over."""
    longest = _longest(side, reference)
    places, found = [], []
    for at, text in _said(side, answered, events):
        tune = _tune(text)
        if tune is not None and len(tune.notes) >= LADDER[0]:
            places.append(at)
            found.append(cut_tune(tune, longest))
    extra: list[dict[str, float]] = [{} for _ in found]
    if side == PROMPTS and found:
        from bowerbird.kinds.surprise import surprises

        for more, spent in zip(extra, surprises(model, [tune.text() for tune in found]), strict=True):
            more["surprise"] = spent.at(spent.size)
    for at, tune, more in zip(places, found, extra, strict=True):
        _add(told[at], side, {**melody_traits(tune), **more}, len(tune.notes))


def _pictures(
    answered: Sequence[int], events: Sequence[Event], told: list[dict[str, dict[str, Any]]], model: Model
) -> None:
    """Which class is asked for; and the first picture of each request, made again from its seed."""
    from bowerbird.base.errors import UsageError
    from bowerbird.sampling.session import run_all

    places, jobs = [], []
    for at in answered:
        settings = events[at].settings
        label = settings.get("label") or events[at].prompt or None
        if label is not None:
            told[at]["classes"]["prompts.class"] = str(label)
            told[at]["sizes"][PROMPTS] = 1.0
        if settings.get("seed") is None or settings.get("to_seed") is not None:
            continue
        try:
            request = model.request(
                label=label, seed=settings["seed"], truncation=settings.get("truncation") or 1.0
            )
            jobs.append(model.kind.encode_request(model, request, 0))
        except UsageError:
            continue  # of a class that it does not know
        places.append(at)
    for progress in run_all(model.kind.open_session(model.network, _AT_ONCE), jobs, set()):
        [found] = image_traits(progress.chunk.content[:1])
        _add(told[places[progress.index]], OUTPUTS, found, 1)


def _longest(side: str, reference: Reference | None) -> int:
    """Bytes or notes that the reference reaches on this side."""
    normal = None if reference is None else reference.prompts if side == PROMPTS else reference.outputs
    return (normal.longest if normal else 0) or _CUT


def _said(side: str, answered: Iterable[int], events: Sequence[Event]) -> Iterator[tuple[int, str]]:
    """The prompts or outputs that were recorded and are not blank, and which request each is of."""
    for at in answered:
        text = events[at].prompt if side == PROMPTS else events[at].output
        if text is not None and text.strip():
            yield at, text


def _tune(text: str) -> Tune | None:
    from bowerbird.data.opening import read_opening
    from bowerbird.data.tune import NotATune

    try:
        return read_opening(text)
    except (DataError, NotATune):
        return None


def _add(told: dict[str, dict[str, Any]], side: str, found: Traits, length: int) -> None:
    told["sizes"][side] = float(length)
    for name, value in found.items():
        if isinstance(value, str):
            told["classes"][f"{side}.{name}"] = value
        elif not math.isnan(value):
            told["numbers"][f"{side}.{name}"] = value


def _observed(event: Event, found: Mapping[str, Mapping[str, Any]]) -> Observed:
    named = event.session or event.owner
    return Observed(
        number=event.number,
        time=event.time,
        caller=named or f"request {event.number} {event.id}",
        named=bool(named),
        usual=_usual(event.settings),
        prompt=event.prompt,
        numbers=found["numbers"],
        classes=found["classes"],
        sizes=found["sizes"],
    )


def _usual(settings: Mapping[str, Any]) -> bool:
    """Whether an answer was drawn from the model's own distribution, as the reference's samples were."""
    plain = all(settings.get(name) in (None, 1) for name in ("temperature", "top_p", "truncation"))
    return plain and not any(settings.get(name) for name in _OTHER_SETTINGS)
