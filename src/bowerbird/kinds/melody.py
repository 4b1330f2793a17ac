"""The kind `melody`: notes in bars, and the network of texts to predict the next."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.errors import UsageError
from bowerbird.data.codecs.codec import DOCUMENT_TOKEN
from bowerbird.data.codecs.grammar import Grammar, possible
from bowerbird.data.codecs.notes import Notes
from bowerbird.data.dataset import Dataset, read_from
from bowerbird.data.markers import DOCUMENT, MARKERS, plain
from bowerbird.data.opening import read_opening
from bowerbird.data.render import render as render_tune
from bowerbird.data.tune import Key, Metre, NotATune, Tune, parse
from bowerbird.evaluation.evidence import Evidence
from bowerbird.kinds.kind import Kind
from bowerbird.kinds.melody_settings import MelodyRequest, MelodyRun, read_key, read_metre
from bowerbird.kinds.text import (
    FIXED,
    PREVIEW,
    VALIDATION_TOKENS,
    build_learner,
    build_network,
    held_out_bits,
    model_name,
    open_session,
    own_samples,
    token_request,
    validate,
    warnings,
)
from bowerbird.kinds.text_batches import batches as text_batches
from bowerbird.kinds.text_card import card
from bowerbird.kinds.text_recoding import recode
from bowerbird.kinds.text_sizes import recommend as recommend_text
from bowerbird.models.cells import CELLS
from bowerbird.sampling.request import TokenRequest
from bowerbird.sampling.session import FinishReason

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model, Sample

FILES = ("mid", "abc", "png", "wav")
"""What is written of each melody, the first first."""
_STIR = np.uint64(0x9E3779B97F4A7C15)


def recommend(dataset: Dataset, model: str, size: str, minutes: float | None) -> dict[str, Any]:
    """As for a text; where pitches are not counted from the tonic, tunes are transposed instead."""
    layer = recommend_text(dataset, model, size, minutes)
    relative = cast(Notes, dataset.codec).pitches == "relative"
    return {**layer, "transpose": 0 if relative else 6}


def batches(dataset: Dataset, config: MelodyRun) -> Callable[[int], NDArray[np.int64]]:
    """A text's batches, each tune in them moved to a key of its own. Old data mixed in stays where it is."""
    read = text_batches(dataset, config)
    if not config.transpose:
        return read
    total = len(dataset.tokens("train"))
    firsts = dataset.documents("train")[:, 0]
    codec = cast(Notes, dataset.codec)
    reach = config.transpose
    moved = np.stack([codec.transposition(semitones) for semitones in range(-reach, reach + 1)])

    def transposed(step: int) -> NDArray[np.int64]:
        table = read(step)
        starts = read_from(total, config.seed, step, len(table), config.length)
        places = starts[:, None] + np.arange(config.length + 1)
        tune = np.searchsorted(firsts, places % total, side="right") - 1
        chosen = _stirred(tune + (places // total) * len(firsts), config.seed) % len(moved)
        return moved[chosen, table].astype(np.int64)

    return transposed if config.mix.dataset is None else read


def _stirred(numbers: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Each number's own number, the same wherever it is asked for."""
    mixed = (numbers.astype(np.uint64) + np.uint64(seed % (1 << 32))) * _STIR
    mixed ^= mixed >> np.uint64(29)
    mixed *= _STIR
    return (mixed >> np.uint64(33)).astype(np.int64)


class TuneReader:
    """Gives out a tune whole, as ABC, when its last note is made."""

    unread = 0

    def __init__(self, codec: Notes, opening: NDArray[np.int64]):
        self.codec = codec
        self.content = ""
        """The tune's text, once it has ended."""
        self._tokens = [opening]

    def push(
        self, content: NDArray[np.int64], finished: FinishReason | None
    ) -> tuple[str, FinishReason | None]:
        self._tokens.append(content)
        if finished is None:
            return "", None
        self.content = plain(self.codec.decode(np.concatenate(self._tokens)))
        try:
            return render_tune(parse(self.content), "abc").decode(), finished
        except NotATune:  # the grammar lets none be made; an evaluation counts them all the same
            return self.content, finished


def opening(model: Model, request: MelodyRequest) -> NDArray[np.int64]:
    """The tokens that a tune begins with: its prompt's, after the marker that begins each.

    Raises:
        DataError: the prompt cannot be read.
        UsageError: it has more bars than are asked for.
    """
    begun = model.codec.encode(DOCUMENT)
    if request.prompt.strip():
        text = _read_once(request.prompt, _key(request), _metre(request)).text()
        try:
            begun = np.append(begun, cast(Notes, model.codec).encode_opening(text, request.bars))
        except ValueError as error:
            raise UsageError(f"this tune cannot be made: {error}", where="the request") from error
    return begun.astype(np.int64)


@functools.lru_cache(maxsize=16)
def _read_once(prompt: str, key: Key | None, metre: Metre | None) -> Tune:
    """The opening of each of a request's samples and readers, which music21 takes its time to read."""
    return read_opening(prompt, key=key, metre=metre)


def encode_request(model: Model, request: MelodyRequest, index: int) -> TokenRequest:
    """Tokens, settings and the grammar that keeps the tune playable, for a session.

    Raises:
        DataError: the prompt cannot be read.
        UsageError: there is no such tune: the bars asked for hold less than the prompt, or the like.
    """
    prompt = opening(model, request)
    try:
        guide = Grammar.of_prompt(
            cast(Notes, model.codec),
            prompt,
            budget=request.length,
            key=_key(request),
            metre=_metre(request),
            bars=request.bars,
        )
    except ValueError as error:
        raise UsageError(f"this tune cannot be made: {error}", where="the request") from error
    return token_request(
        request,
        index,
        prompt=prompt,
        ends=frozenset({DOCUMENT_TOKEN}),
        banned=frozenset(range(1, len(MARKERS))),
        guide=guide,
    )


def _key(request: MelodyRequest) -> Key | None:
    return read_key(request.key) if request.key else None


def _metre(request: MelodyRequest) -> Metre | None:
    return read_metre(request.metre) if request.metre else None


def read(model: Model, request: MelodyRequest) -> TuneReader:
    return TuneReader(cast(Notes, model.codec), opening(model, request)[1:])


def render(request: MelodyRequest, sample: Sample) -> dict[str, bytes]:
    """A sample's files, by suffix."""
    tune = parse(sample.content)
    return {suffix: render_tune(tune, suffix, tempo=request.tempo) for suffix in FILES}


def gather_evidence(
    model: Model, dataset: Dataset, *, split: str, seed: int, samples: int, length: int, most_bytes: int
) -> Evidence:
    """The model's bits on held-out tunes, by the grammar it samples with, and tunes it makes by itself."""
    rules = functools.partial(possible, cast(Notes, model.codec))
    bits, notes = held_out_bits(model, dataset, split, most_bytes, rules)
    held_out = [dataset.text(split, index) for index in range(len(dataset.documents(split)))]
    return Evidence(
        kind="melody",
        seed=seed,
        split=split,
        bits=bits,
        sizes=notes,
        held_out=held_out,
        samples=[sample.content for sample in own_samples(model, samples, length, seed)],
        training=lambda: dataset.pieces("train"),
    )


MELODY = Kind(
    name="melody",
    run_config=MelodyRun,
    request=MelodyRequest,
    models=CELLS,
    model_name=model_name,
    recommend=recommend,
    build_network=build_network,
    build_learner=build_learner,
    batch=batches,
    validate=validate,
    validation=VALIDATION_TOKENS,
    measure="loss",
    preview=PREVIEW,
    warnings=warnings,
    card=functools.partial(card, "melody"),
    fixed=FIXED,
    learning="optimizer",
    recode=recode,
    open_session=open_session,
    encode_request=encode_request,
    read=read,
    render=render,
    gather_evidence=gather_evidence,
    judged_samples=32,
)
