"""Which tokens of `Notes` may come next, so that whatever is sampled is a whole tune.

A tune needs a head, starts that rise within a bar, one note at a time in a voice, and an end at a bar line
with nothing sounding past it. Bar lines count down to the last bar, which has a note. Each step leaves room for
the shortest ending within the tokens left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.codecs.codec import DOCUMENT_TOKEN
from bowerbird.data.codecs.notes import AT, BAR, LENGTH, METRE, MODE, PITCH, TONIC, VOICE, Notes
from bowerbird.data.tune import MODES, Key, Metre

_ENDLESS = 1 << 60
_BETWEEN, _ENDED = 100, 101
"""States beside those that are named after the token they await."""


class Grammar:
    """The state of one tune. `allowed` never is empty; after the end it allows the end only."""

    def __init__(
        self,
        codec: Notes,
        *,
        key: Key | None = None,
        metre: Metre | None = None,
        bars: int | None = None,
        budget: int | None = None,
    ):
        """A tune from its beginning.

        Args:
            codec: whose tokens these are.
            key: the tune's.
            metre: of the whole tune.
            bars: how many exactly, those of a prompt included.
            budget: the most tokens to make, the end included.

        Raises:
            ValueError: the codec has no such metre, or there is no whole tune in so few tokens.
        """
        self._codec = codec
        self._cost = 4 if codec.manifold else 3
        self._state = TONIC
        self._bars = 0
        self._after: int | None = None
        """Bars after this one; None where a line said only that they are many."""
        self._line = self._width = self._metre = 0
        self._at, self._heard, self._voice = -1, 0, codec.voices[0]
        self._changed = False
        self._ends = dict.fromkeys(codec.voices, 0)
        self._sounding = 0
        """The last end of all notes."""
        self._key: Key | None = None
        self._fixed: int | None = None
        self._whole: int | None = None
        self._left = _ENDLESS
        self._constrain(key, metre, bars, budget)

    @classmethod
    def of_prompt(
        cls,
        codec: Notes,
        prompt: Iterable[int],
        *,
        key: Key | None = None,
        metre: Metre | None = None,
        bars: int | None = None,
        budget: int | None = None,
    ) -> Self:
        """After a prompt, with or without the document token that begins it. The budget is for what follows.

        `key` and `metre` bind where the prompt has not said its own.

        Raises:
            ValueError: with what is wrong with the prompt, or as for a tune from its beginning.
        """
        tokens = [int(token) for token in prompt]
        grammar = cls(codec)
        for place, token in enumerate(tokens[1:] if tokens[:1] == [DOCUMENT_TOKEN] else tokens, 1):
            if not 0 <= token < codec.vocab_size:
                raise ValueError(f"token {place} of the prompt is {token}, which no codec of notes has")
            if token == DOCUMENT_TOKEN or not grammar.allowed()[token]:
                raise ValueError(
                    f"token {place} of the prompt, {codec.word(token)}, cannot stand there in a tune"
                )
            grammar.push(token)
        grammar._constrain(key, metre, bars, budget)
        return grammar

    def _constrain(self, key: Key | None, metre: Metre | None, bars: int | None, budget: int | None) -> None:
        if key is not None and (not 0 <= key.tonic < 12 or key.mode not in MODES):
            raise ValueError(f"there is no key {key.tonic}:{key.mode}")
        if metre is not None and metre not in self._codec.metres:
            known = ", ".join(f"{one.beats}/{one.unit}" for one in self._codec.metres)
            raise ValueError(f"no tune here was in {metre.beats}/{metre.unit}; there are {known}")
        self._key = key
        self._fixed = None if metre is None else self._codec.metres.index(metre)
        self._left = _ENDLESS if budget is None else budget
        if bars is not None:
            if bars < max(self._bars, 1):
                raise ValueError(f"bars = {bars} is too few: at least one, and all that is there already")
            if self._bars:
                said, after = self._bars + self._to_come, bars - self._bars
                if after < self._to_come or self._after not in (None, after):
                    raise ValueError(f"bars = {bars}, but the tune was begun as one of {said} or so")
                self._after = after
            self._whole = bars
        if self._needed() > self._left:
            raise ValueError(f"a whole tune needs {self._needed()} tokens or more here, not {budget}")

    @property
    def ended(self) -> bool:
        return self._state == _ENDED

    def push(self, token: int) -> None:
        """Take a token that was allowed."""
        codec = self._codec
        kind, value = codec.kinds[token], codec.values[token]
        self._left -= 1
        if kind == AT:
            self._at, self._heard = value, 0
            self._state = VOICE if codec.manifold else PITCH
        elif kind == VOICE:
            self._voice = value
            self._state = PITCH
        elif kind == PITCH:
            self._state = LENGTH
        elif kind == LENGTH:
            end = self._line + self._at + value
            self._ends[self._voice] = end
            self._sounding = max(self._sounding, end)
            self._heard = self._voice
            self._state = _BETWEEN
        elif kind == BAR:
            self._open_bar(value)
        elif kind == TONIC:
            self._state = MODE
        elif kind == MODE:
            self._state = METRE
        elif kind == METRE:
            self._metre, self._width = value, codec.bar_steps[value]
            self._changed = True
            if self._state == METRE:
                self._state = BAR
        else:
            self._state = _ENDED

    def _open_bar(self, left: int) -> None:
        if self._bars:
            self._line += self._width
        self._bars += 1
        if self._whole is not None:
            self._after = self._whole - self._bars
        elif self._after is not None:
            self._after -= 1
        elif left < self._codec.most_bars:
            self._after = (left or self._codec.most_bars - 1) - 1
        self._at, self._heard, self._changed = -1, 0, False
        self._state = _BETWEEN

    def allowed(self) -> NDArray[np.bool_]:
        """(V,), not to be written to."""
        state = self._state
        if state == PITCH:
            return self._mask(PITCH)
        if state == LENGTH:
            return self._mask(LENGTH, min(self._longest(), self._codec.lengths[-1]))
        if state == VOICE:
            return self._mask(VOICE, self._free(self._line + self._at))
        if state == _BETWEEN:
            return self._between()
        if state == TONIC:
            return self._mask(TONIC, None if self._key is None else self._key.tonic)
        if state == MODE:
            return self._mask(MODE, None if self._key is None else MODES.index(self._key.mode))
        if state == METRE:
            return self._mask(METRE, self._fixed)
        if state == BAR:
            return self._mask(BAR, self._counts())
        return self._mask(state)

    @property
    def _to_come(self) -> int:
        """Bars after this one, at the least."""
        return self._codec.most_bars - 1 if self._after is None else self._after

    def _counts(self) -> tuple[int, ...]:
        """What the next bar line may say."""
        most = self._codec.most_bars
        if not self._bars:
            if self._whole is not None:
                return (self._codec.count(self._whole, first=True),)
            return tuple(range(1, min(most, self._left - self._cost - 1) + 1))
        if self._after is not None:
            return (self._codec.count(self._after),) if self._after else ()
        stop = self._line + self._width
        longer = 1 + self._needed_after(self._sounding, stop, self._width, most - 1) <= self._left
        return (0, most) if longer else (0,)

    def _between(self) -> NDArray[np.bool_]:
        """After a note or a bar line."""
        line, width, after = self._line, self._width, self._to_come
        heard = max(self._sounding, line + 1)
        room = self._left - self._needed_after(heard, line, width, after)
        first = width
        if self._cost <= room:
            first = min(max(self._at + 1, min(self._ends.values()) - line), width)
        voices: tuple[int, ...] = ()
        if self._heard and self._codec.manifold and self._cost - 1 <= room:
            voices = self._free(line + self._at, self._heard)
        metres: tuple[int, ...] = ()
        if self._at < 0 and not self._changed and self._bars > 1 and self._fixed is None:
            metres = tuple(self._metres(heard))
        end = self._after == 0 and self._sounding > line
        return self._mask(_BETWEEN, (first, width, voices, self._counts(), end, metres))

    def _metres(self, heard: int) -> Iterable[int]:
        """Those that this bar may change to: there is room for a note in it."""
        for place, width in enumerate(self._codec.bar_steps):
            reach = self._line + (self._to_come + 1) * width
            if place == self._metre or self._sounding > reach:
                continue
            if 1 + self._cost + self._needed_after(heard, self._line, width, self._to_come) <= self._left:
                yield place

    def _free(self, now: int, above: int = 0) -> tuple[int, ...]:
        return tuple([voice for voice, end in self._ends.items() if voice > above and end <= now])

    def _longest(self) -> int:
        """Steps that the note begun may sound."""
        return (self._to_come + 1) * self._width - self._at

    def _needed(self) -> int:
        """Tokens that the shortest ending takes from here, the end included."""
        if self._bars == 0:
            head = {TONIC: 3, MODE: 2, METRE: 1}.get(self._state, 0)
            return head + (self._whole or 1) + self._cost + 1
        pending = {VOICE: 3, PITCH: 2, LENGTH: 1}.get(self._state, 0)
        sounding = max(self._sounding, self._line + self._at + 1) if pending else self._sounding
        return pending + self._needed_after(sounding, self._line, self._width, self._to_come)

    def _needed_after(self, sounding: int, line: int, width: int, after: int) -> int:
        """The same between notes, in a bar that begins at `line` and has so many after it."""
        silent = sounding <= line + after * width
        return after + (self._cost if silent else 0) + 1

    def _mask(self, state: int, told: Any = None) -> NDArray[np.bool_]:
        masks = self._codec.masks
        found = masks.get((state, told))
        if found is None:
            found = masks[state, told] = _made(self._codec, state, told)
        return found


def possible(codec: Notes, tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(T - 1, V) what could follow each token of a tune (T,) but the last, its document token the first.

    From a token on that the rules forbid, as in a part without a head, everything can.
    """
    masks = np.ones((max(len(tokens) - 1, 0), codec.vocab_size), np.bool_)
    grammar = Grammar(codec)
    for mask, token in zip(masks, tokens[1:].tolist(), strict=True):
        allowed = grammar.allowed()
        if not allowed[token]:
            break
        mask[:] = allowed
        grammar.push(token)
    return masks


def _made(codec: Notes, state: int, told: Any) -> NDArray[np.bool_]:
    kinds, values, token_of = codec.kind_of, codec.value_of, codec.token_of
    mask: NDArray[np.bool_] = np.zeros(codec.vocab_size, np.bool_)
    if state == _ENDED:
        mask[DOCUMENT_TOKEN] = True
    elif state == _BETWEEN:
        first, width, voices, bars, end, metres = told
        starts = token_of[AT, 0]
        mask[starts + first : starts + width] = True
        mask[[token_of[VOICE, voice] for voice in voices]] = True
        mask[[token_of[METRE, metre] for metre in metres]] = True
        mask[[token_of[BAR, left] for left in bars]] = True
        mask[DOCUMENT_TOKEN] = end
    elif state == LENGTH:
        mask = (kinds == LENGTH) & (values <= told)
    elif state in (VOICE, BAR):
        mask[[token_of[state, value] for value in told]] = True
    else:
        mask = kinds == state
        if told is not None:
            mask &= values == told
    mask.flags.writeable = False
    return mask
