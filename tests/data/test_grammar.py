"""Whatever is drawn from what a grammar allows is a whole tune, within its budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bowerbird.data.codecs.grammar import Grammar, possible
from bowerbird.data.codecs.notes import Notes
from bowerbird.data.markers import DOCUMENT
from bowerbird.data.tune import Key, Metre, Tune, parse

METRES = (Metre(4, 4), Metre(3, 4), Metre(6, 8), Metre(2, 4))
CODECS = [
    Notes(grid=4, metres=METRES, lengths=[40], most_bars=12),
    Notes(grid=2, metres=METRES[:2], voices=(1, 2, 3), lengths=[20], pitches="absolute", span=(50, 70)),
    Notes(grid=1, metres=(Metre(1, 4), Metre(2, 4)), voices=(1, 2), most_bars=4),
]


def drawn(codec: Notes, grammar: Grammar, seed: int, most: int, fond: int = 0) -> list[int]:
    """What random choice makes; with `fond`, choice that likes some tokens much better than others."""
    noise = np.random.default_rng(seed)
    liking = noise.random(codec.vocab_size) ** fond
    tokens: list[int] = []
    while len(tokens) < most:
        allowed = np.flatnonzero(grammar.allowed())
        assert len(allowed), [codec.word(token) for token in tokens]
        token = int(noise.choice(allowed, p=liking[allowed] / liking[allowed].sum()))
        grammar.push(token)
        if token == 0:
            return tokens
        tokens.append(token)
    raise AssertionError(f"no end within {most}")


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_whatever_is_drawn_is_a_whole_tune_within_the_budget(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(CODECS))
    bars = data.draw(st.one_of(st.none(), st.integers(1, 9)))
    key = data.draw(st.one_of(st.none(), st.just(Key(7, "dorian"))))
    metre = data.draw(st.one_of(st.none(), st.sampled_from(codec.metres)))
    budget = data.draw(st.integers(22, 120))
    grammar = Grammar(codec, key=key, metre=metre, bars=bars, budget=budget)
    tokens = drawn(codec, grammar, data.draw(st.integers(0, 9999)), budget, data.draw(st.integers(0, 8)))
    assert len(tokens) < budget
    text = codec.decode(tokens)
    tune = parse(text)
    assert tune.text() == text
    assert codec.encode(text).tolist() == tokens
    assert max(note.end for note in tune.notes) > tune.bar_lines()[-2], "the last bar is silent"
    assert bars in (None, len(tune.metres))
    assert key in (None, tune.key)
    if metre is not None:
        assert set(tune.metres) == {metre}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_beginning_of_a_tune_can_be_gone_on_from(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(CODECS))
    seed = data.draw(st.integers(0, 9999))
    whole = drawn(codec, Grammar(codec, budget=90), seed, 90)
    prompt = whole[: data.draw(st.integers(0, len(whole)))]
    grammar = Grammar.of_prompt(codec, [0, *prompt], budget=140)
    more = drawn(codec, grammar, seed + 1, 140)
    tune: Tune = parse(codec.decode([*prompt, *more]))
    assert len(tune.notes) >= 1


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_an_opening_is_gone_on_from_to_the_bars_asked_for(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(CODECS))
    seed = data.draw(st.integers(0, 9999))
    whole = drawn(codec, Grammar(codec, budget=90), seed, 90)
    opening = codec.decode(whole[: data.draw(st.integers(4, len(whole)))])
    bars = data.draw(st.one_of(st.none(), st.just(opening.count("|") + data.draw(st.integers(3, 15)))))
    prompt = codec.encode_opening(opening, bars).tolist()
    try:
        grammar = Grammar.of_prompt(codec, prompt, bars=bars, budget=200)
    except ValueError:  # a last note that outlasts the bars asked for; with more of them there is such a tune
        assert bars is not None
        bars += 20
        prompt = codec.encode_opening(opening, bars).tolist()
        grammar = Grammar.of_prompt(codec, prompt, bars=bars, budget=400)
    more = drawn(codec, grammar, seed + 1, 400)
    tune = parse(codec.decode([*prompt, *more]))
    assert tune.text().startswith(opening)
    if bars is not None:
        assert len(tune.metres) == bars
    elif codec.most_bars > 16 + 8:
        assert len(tune.metres) == max(codec.usual_bars, opening.count("|") + 8)


def test_what_breaks_the_rules_of_a_tune_is_refused_as_a_prompt() -> None:
    codec = CODECS[0]
    good = codec.encode("K0:major M4/4 | 0:60:24 24:62:24 | 0:64:24").tolist()
    assert not Grammar.of_prompt(codec, good).ended
    wrong: list[tuple[Any, str]] = [
        (good[1:], "token 1 of the prompt, mode_major, cannot stand there"),
        ([*good, 0, *good], "marker_0"),
        (good[:4] + good[5:], "cannot stand"),
        ([codec.vocab_size], "which no codec"),
    ]
    for prompt, words in wrong:
        with pytest.raises(ValueError, match=words):
            Grammar.of_prompt(codec, prompt)
    with pytest.raises(ValueError, match="bars = 1 is too few"):
        Grammar.of_prompt(codec, good, bars=1)


def test_what_cannot_be_asked_is_refused_with_words() -> None:
    with pytest.raises(ValueError, match="7/8; there are 4/4, 3/4"):
        Grammar(CODECS[0], metre=Metre(7, 8))
    with pytest.raises(ValueError, match="needs 8 tokens or more"):
        Grammar(CODECS[0], budget=7)
    with pytest.raises(ValueError, match="no key 12"):
        Grammar(CODECS[0], key=Key(12, "major"))


def test_a_tune_is_possible_token_by_token_and_a_part_of_one_is_not_judged() -> None:
    codec = CODECS[0]
    tune = codec.encode(f"{DOCUMENT}K0:major M4/4 | 0:60:24 24:62:24 | 0:64:24{DOCUMENT}").astype(np.int64)
    masks = possible(codec, tune)
    assert masks.shape == (len(tune) - 1, codec.vocab_size)
    assert masks[np.arange(len(masks)), tune[1:]].all()
    assert masks[0].sum() == 12, "a tune begins with one of twelve tonics"
    assert possible(codec, np.concatenate([tune[:1], tune[5:]])).all()
