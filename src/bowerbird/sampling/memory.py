"""What the counted n-grams and the stream's own past add to the logits of one row, compiled.

The plain twins are `models.ngrams` and `models.cache`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bowerbird.models.cache import HEAVIEST, LONGEST
from bowerbird.models.ngrams import START
from bowerbird.sampling.mathematics import F, compiled, exponential, logarithm

_STIR = np.uint64(0x9E3779B97F4A7C15)
_DOWN = np.uint64(29)
_SURPRISE = F(60)
_HEAVIEST = F(HEAVIEST)
_ZERO, _ONE = F(0), F(1)
_BLOCK = 64
"""Places looked at together for a match; most blocks hold none."""


@compiled
def _bucket(key: Any, buckets: Any) -> Any:
    stirred = np.uint64(key) * _STIR
    return np.int64((stirred >> _DOWN) & np.uint64(len(buckets) - 1))


@compiled
def fill_buckets(contexts: Any, buckets: Any) -> None:
    """Put each context's place into the first free bucket from its own on; twice as many as contexts."""
    for place in range(len(contexts)):
        bucket = _bucket(contexts[place], buckets)
        while buckets[bucket] >= 0:
            bucket = (bucket + 1) & (len(buckets) - 1)
        buckets[bucket] = place


@compiled
def _found(key: int, contexts: Any, buckets: Any) -> Any:
    """The key's place in the contexts, or -1."""
    bucket = _bucket(key, buckets)
    while buckets[bucket] >= 0:
        if contexts[buckets[bucket]] == key:
            return np.int64(buckets[bucket])
        bucket = (bucket + 1) & (len(buckets) - 1)
    return np.int64(-1)


@compiled
def add_counted(layout: Any, recent: Any, scores: Any, chances: Any, places: Any) -> None:
    """Add each order's log-probabilities, weighed by the gates that stand behind the logits in `scores`.

    An order whose context is unknown says what the order below says: its gate joins that order's, and the
    logarithms are taken once for both.

    Args:
        layout: the network's.
        recent: (K - 1,) tokens read last, the newest first.
        scores: (V + K - 1 or more,) logits, then gates.
        chances: (V,) to write to.
        places: (K,) to write to.
    """
    size = layout.vocab_size
    orders = layout.order - 1
    matched, key, place, inside = 0, np.int64(0), np.int64(1), True
    tagged = np.int64(size) ** orders
    for index in range(orders):
        token = recent[index] if inside else np.int64(START)
        inside = inside and token != START
        key += token * place
        place *= size
        places[index] = -1
        if index + 2 <= layout.dense:
            matched += 1
        elif index == 0 or index + 1 <= layout.dense or places[index - 1] >= 0:
            # A longer context is only known where the shorter one is.
            places[index] = _found(key + (index + 1) * tagged, layout.contexts, layout.buckets)
            matched += places[index] >= 0
    lowest = recent[0] if layout.dense == 2 else 0
    for token in range(size):
        chances[token] = layout.base[lowest, token]
    pending = _ZERO
    for index in range(orders):
        at = places[index]
        if at >= 0:
            if index:
                _add_logs(scores, chances, pending, size)
                pending = _ZERO
            left = layout.left[at]
            for token in range(size):
                chances[token] *= left
            for entry in range(layout.first[at], layout.first[at + 1]):
                chances[layout.symbols[entry]] += layout.shares[entry]
        pending += scores[size + index] + layout.by_known[matched, index]
    _add_logs(scores, chances, pending, size)


@compiled
def _add_logs(scores: Any, chances: Any, weight: Any, size: int) -> None:
    for token in range(size):
        scores[token] += weight * logarithm(chances[token])


@compiled
def remember(layout: Any, token: int, written: Any, past: Any, keys: Any) -> None:
    """Write down a token read, and the key of the `shortest` read last.

    `past` and `keys` have room for two windows; when it is used up the last window moves to the front.
    `written` holds how many tokens are, and where the newest document begins.
    """
    filled, window = written[0], layout.window
    if filled == len(past):
        for index in range(window):
            past[index] = past[filled - window + index]
            keys[index] = keys[filled - window + index]
        written[1] -= filled - window
        filled = window
    past[filled] = token
    if token == START:
        written[1] = filled
    key = np.int64(0)
    for back in range(min(layout.shortest, filled + 1)):
        key = key * (layout.vocab_size + 1) + past[filled - back] + 1
    keys[filled] = np.int32(key ^ (key >> 32))
    written[0] = filled + 1


@compiled
def add_past(
    layout: Any, written: Any, past: Any, keys: Any, gate: Any, scores: Any, gains: Any, gained: Any
) -> None:
    """Raise the logits of tokens that followed, in this document, what was read last.

    Args:
        layout: the network's.
        written: how many tokens are in `past`, and where the newest document begins.
        past: (2W,) tokens, the newest last.
        keys: (2W,) of the shortest match that ends at each.
        gate: what a match of any length weighs.
        scores: (V or more,) logits.
        gains: (V,) zeros; left as zeros.
        gained: (V,) to write to.
    """
    here, begun = written[0] - 1, written[1]
    lowest = max(here - layout.window, 0)
    shortest, key, count = layout.shortest, keys[here], 0
    start = max(lowest + shortest - 1, begun)
    while start < here:
        stop = min(start + _BLOCK, here)
        hits = np.int32(0)
        for place in range(start, stop):
            hits += np.int32(keys[place] == key)
        if hits:
            for place in range(start, stop):
                if keys[place] == key:
                    count = _add_match(layout, place, here, lowest, past, gate, gains, gained, count)
        start = stop
    if not count:
        return
    most, total = scores[0], _ZERO
    for token in range(1, layout.vocab_size):
        most = max(most, scores[token])
    for token in range(layout.vocab_size):
        total += exponential(scores[token] - most)
    whole = most + logarithm(total)
    for index in range(count):
        token = gained[index]
        surprise = min(whole - scores[token], _SURPRISE)
        gain = min(gains[token], _HEAVIEST)
        scores[token] += F(np.log1p(np.float64(gain) * np.exp(np.float64(surprise))))
        gains[token] = _ZERO


@compiled
def _add_match(
    layout: Any, place: int, here: int, lowest: int, past: Any, gate: Any, gains: Any, gained: Any, count: int
) -> int:
    """Weigh the match that ends at a place; how many tokens gained by now."""
    length = 0
    while length < LONGEST and place - length >= lowest and past[place - length] == past[here - length]:
        length += 1
    if length < layout.shortest:
        return count
    following = past[place + 1]
    if gains[following] == _ZERO:
        gained[count] = following
        count += 1
    gains[following] += exponential(layout.by_length[length - layout.shortest] + gate)
    return count
