"""N-grams of the events of notes, as a baseline for melodies: `models.kneser_ney` over events.

A tune is its key, its metres, and for each note where in the bar it starts and in which voice, its pitch above
the tonic, and its length; a bar line before every bar, and an end. Events never seen in learning share one
symbol, and which of them it was costs a fixed number of bits more. At the bottom stands the uniform distribution
over the events seen and that symbol, so whatever may come has some probability, and all sum to one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.tune import Tune
from bowerbird.evaluation.evidence import Floats
from bowerbird.evaluation.melodies import bars
from bowerbird.models.kneser_ney import levels, looked_up, runs

LEAST_CONTEXT, MOST_CONTEXT = 5, 7
"""Events that each is predicted from: as many of these as let n-grams fit into 64 bits."""
UNSEEN_BITS = 16.0
"""What it costs to say which event it was that was never seen."""
_MOST_EVENTS = 1_600
"""Known apart; n-grams over the least context of as many fit into 64 bits. Rarer ones count as never seen."""

Event = tuple[object, ...]
Ids = NDArray[np.uint64]


def events(tune: Tune) -> Iterator[Event]:
    """A whole tune, so that it could be written down again from them."""
    yield ("key", *tune.key)
    before = None
    for metre, notes in zip(tune.metres, bars(tune), strict=True):
        yield ("bar",)
        if metre != before:
            yield ("metre", *metre)
            before = metre
        for note in notes:
            yield ("start", note.start, note.voice)
            yield ("pitch", note.pitch - tune.key.tonic)
            yield ("length", note.length)
    yield ("end",)


class NoteNGram:
    """A model of events learnt from tunes."""

    def __init__(self, tunes: Iterable[Tune]):
        learnt = [list(events(tune)) for tune in tunes]
        times = Counter(event for tune in learnt for event in tune)
        self.ids = {event: number for number, (event, _) in enumerate(times.most_common(_MOST_EVENTS))}
        self.unseen = len(self.ids)
        # One number more stands before every tune; it is context and never predicted.
        self._base = len(self.ids) + 2
        room = (64 * math.log(2) - 1e-9) / math.log(self._base) - 1
        self.context = max(LEAST_CONTEXT, min(MOST_CONTEXT, int(room)))
        grams = np.concatenate([self._grams(tune) for tune in learnt] or [np.zeros(0, np.uint64)])
        grams.sort()
        self._levels = levels(*runs(grams), self.context + 1, self._base)

    def after(self, before: Sequence[Event]) -> Floats:
        """(events + 1,) the distribution of the event after some others, the last that of an event never seen."""
        return self._probabilities(self._grams_after(before))

    def bits(self, tune: Tune) -> float:
        """What the whole tune costs."""
        told = list(events(tune))
        bits = float(-np.log2(self._probabilities(self._grams(told))).sum())
        return bits + UNSEEN_BITS * sum(event not in self.ids for event in told)

    def _probabilities(self, grams: Ids) -> Floats:
        found = np.full(len(grams), 1 / (len(self.ids) + 1))
        for size, level in enumerate(self._levels, start=1):
            keys = grams % np.uint64(self._base**size)
            left = looked_up(level.contexts, level.left, keys // np.uint64(self._base), 1.0)
            found = looked_up(level.grams, level.share, keys, 0.0) + left * found
        return found

    def _grams(self, told: Sequence[Event]) -> Ids:
        """(events,) the gram that ends at each event, the newest its lowest digit."""
        stream = np.full(self.context + len(told), self._base - 1, np.uint64)
        stream[self.context :] = [self.ids.get(event, self.unseen) for event in told]
        grams: Ids = np.zeros(len(told), np.uint64)
        for offset in range(self.context + 1):
            grams = grams * np.uint64(self._base) + stream[offset : offset + len(told)]
        return grams

    def _grams_after(self, before: Sequence[Event]) -> Ids:
        told = [*before, ("any",)]
        above = self._grams(told)[-1] // np.uint64(self._base) * np.uint64(self._base)
        return np.asarray(above + np.arange(len(self.ids) + 1, dtype=np.uint64), np.uint64)
