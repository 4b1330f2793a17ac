"""Baselines: what an n-gram, and of text a compressor, make of the same held-out documents or tunes.

A model's bits per byte or note mean little alone; these say what simple means reach on the same content.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bowerbird.data.markers import DOCUMENT, plain
from bowerbird.evaluation.bootstrap import interval
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.melodies import tunes
from bowerbird.evaluation.ngram import NGram
from bowerbird.evaluation.note_ngram import NoteNGram
from bowerbird.evaluation.report import Score

MOST_TRAINING = 8_000_000
"""Bytes of the training text that a baseline learns from, from its beginning."""
ORDER = 6
_UNIT = "bits/byte"


def baselines(evidence: Evidence) -> list[Score]:
    """`ngram_bits_per_byte` and `xz_bits_per_byte` on the held-out documents."""
    training, whole = beginning(evidence.training(), MOST_TRAINING)
    held_out = [document for document in map(_utf8, evidence.held_out) if document]
    size = sum(map(len, training))
    trained = f"{'all' if whole else 'the first'} {size:,} bytes of the training text"
    kept, whole_split = sum(map(len, held_out)), int(np.sum(evidence.sizes))
    judged = f"{kept:,} bytes of the {evidence.split} split"
    if whole_split != kept:
        judged += f" (the model: {whole_split:,})"
    return [
        _ngram(training, held_out, f"learnt from {trained}, judged on {judged}", evidence.seed),
        _xz(training, held_out, f"after {trained}, on {judged}"),
    ]


def melody_baselines(evidence: Evidence) -> list[Score]:
    """`ngram_bits_per_note` on the held-out tunes: each event of a note from those before it."""
    training, whole = beginning(evidence.training(), MOST_TRAINING)
    if not whole:
        training.pop()  # the last is not all there
    learnt = tunes(document.decode("utf-8", "surrogatepass") for document in training)
    held_out = tunes(evidence.held_out)
    sizes = np.array([len(tune.notes) for tune in held_out])
    name, total, kept = "ngram_bits_per_note", int(sizes.sum()), int(np.sum(evidence.sizes))
    model = NoteNGram(learnt)
    note = (
        f"n-grams of note events: each from the {model.context} before it, pitches above the tonic, interpolated"
        f" modified Kneser-Ney, learnt from {'all' if whole else 'the first'} {len(learnt):,} tunes of the"
        f" training text, judged on {total:,} notes of the {evidence.split} split"
    )
    if kept != total:
        note += f" (the model: {kept:,})"
    if not total:
        return [Score(name, None, "bits/note", "lower", 0, note=note)]
    bits = np.array([model.bits(tune) for tune in held_out])
    ends = interval(bits, sizes, evidence.seed)
    return [Score(name, float(bits.sum()) / total, "bits/note", "lower", total, ends, note)]


BASELINES: Mapping[str, Callable[[Evidence], list[Score]]] = {"text": baselines, "melody": melody_baselines}
"""For each kind that has any."""


def _ngram(training: list[bytes], held_out: list[bytes], note: str, seed: int) -> Score:
    note = f"byte {ORDER}-grams, interpolated modified Kneser-Ney, {note}"
    name, total = "ngram_bits_per_byte", sum(map(len, held_out))
    if not total:
        return Score(name, None, _UNIT, "lower", 0, note=note)
    model = NGram(training, ORDER)
    bits = np.array([model.bits(document) for document in held_out])
    sizes = np.array([len(document) for document in held_out])
    return Score(name, float(bits.sum()) / total, _UNIT, "lower", total, interval(bits, sizes, seed), note)


def _xz(training: list[bytes], held_out: list[bytes], note: str) -> Score:
    note = (
        f"what xz -9 adds for the held-out text {note}; it may also learn from one held-out document"
        " for the next, which the model may not"
    )
    name, total = "xz_bits_per_byte", sum(map(len, held_out))
    if not total:
        return Score(name, None, _UNIT, "lower", 0, note=note)
    before, after = b"".join(training), b"".join(held_out)
    with ThreadPoolExecutor(2) as pool:
        with_held_out, without = pool.map(_compressed, (before + after, before))
    added = with_held_out - without
    return Score(name, added * 8 / total, _UNIT, "lower", total, note=note)


def _compressed(content: bytes) -> int:
    # Preset 9 reserves room for 64 MiB; a dictionary of the content's size finds the same with less memory.
    size = min(64 << 20, max(4096, len(content)))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": size}]
    return len(lzma.compress(content, lzma.FORMAT_RAW, filters=filters))


def beginning(pieces: Iterable[str], most: int) -> tuple[list[bytes], bool]:
    """The first documents of a marked text as UTF-8, up to `most` bytes; and whether that is all of it."""
    documents: list[bytes] = []
    room = most
    for piece in pieces:
        for number, part in enumerate(piece.split(DOCUMENT)):
            if number or not documents:
                documents.append(b"")
            content = _utf8(part)
            documents[-1] += content[:room]
            if len(content) > room:
                return [document for document in documents if document], False
            room -= len(content)
    return [document for document in documents if document], True


def _utf8(text: str) -> bytes:
    return plain(text).encode("utf-8", "surrogatepass")
