"""A stream's state: what goes on from it is what would have come without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from safetensors.numpy import load_file, save_file
from tests.sampling.streams import SESSIONS, SHAPES, V, got, got_one, network, request, same, words

from bowerbird.sampling.fused_session import FusedSession
from bowerbird.sampling.state import StreamState
from bowerbird.sampling.tokens import TokenSession

EMPTY = np.zeros(0, np.int64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("first", [1, 12, 150])
def test_what_goes_on_from_a_state_is_to_the_bit_what_was_never_interrupted(
    kind: str, shape: str, first: int
) -> None:
    model, open_session = network(shape), SESSIONS[kind]
    told: dict[str, Any] = {"temperature": 0.0, "keep_state": True}
    whole = got_one(open_session(model, 1), length=first + 30, **told)
    begun = got_one(open_session(model, 1), length=first, **told)
    rest = got_one(open_session(model, 1), length=30, start=begun.state, prompt=EMPTY, **told)
    assert begun.tokens + rest.tokens == whole.tokens
    assert same(rest.state, whole.state)
    assert rest.state is not None
    assert rest.state.read == 3 + first + 30


@pytest.mark.parametrize("shape", SHAPES)
def test_a_text_read_in_parts_is_to_the_bit_the_text_read_at_once(shape: str) -> None:
    model, text = network(shape), words(300)
    whole = got_one(FusedSession(model, 1), prompt=text, length=0, keep_state=True).state
    state = None
    for part in np.split(text, [1, 40, 41, 200]):
        state = got_one(FusedSession(model, 1), prompt=part, length=0, keep_state=True, start=state).state
    assert same(state, whole)


def test_what_was_made_and_what_is_read_leave_the_same_state() -> None:
    made = got_one(FusedSession(network(), 1), length=60, keep_state=True)
    told = np.array([0, 5, 9, *made.tokens])
    assert same(got_one(FusedSession(network(), 1), prompt=told, length=0, keep_state=True).state, made.state)


@pytest.mark.parametrize("shape", SHAPES)
def test_either_session_goes_on_from_the_other_s_state(shape: str) -> None:
    model, text = network(shape), words(130)
    states = [
        got_one(open_session(model, 1), prompt=text, length=0, keep_state=True).state
        for open_session in SESSIONS.values()
    ]
    for one, other in zip(*(state.to_arrays().items() for state in states if state), strict=True):
        assert one[0] == other[0]
        np.testing.assert_allclose(one[1], other[1], atol=1e-4, rtol=1e-4)
    found = [
        got_one(open_session(model, 1), prompt=EMPTY, start=state, length=40, seed=8).tokens
        for open_session in SESSIONS.values()
        for state in states
    ]
    assert found == found[:1] * 4


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_state_outlives_a_file_and_is_the_same_size_however_much_was_read(
    kind: str, tmp_path: Path
) -> None:
    open_session = SESSIONS[kind]
    states = [
        got_one(open_session(network(), 1), prompt=words(length), length=1, keep_state=True).state
        for length in (5, 500)
    ]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0].nbytes == states[1].nbytes
    assert states[1].read == 501
    save_file(states[1].to_arrays(), tmp_path / "state.safetensors")
    assert same(StreamState.from_arrays(load_file(tmp_path / "state.safetensors")), states[1])


@pytest.mark.parametrize("kind", SESSIONS)
def test_an_end_is_not_read_and_the_token_before_it_is(kind: str) -> None:
    ends = frozenset(range(30))
    for seed in range(6):
        found = got_one(
            SESSIONS[kind](network(), 1), ends=ends, length=90, seed=seed, keep_state=True, temperature=2.0
        )
        assert found.finished == "stop"
        told = np.array([0, 5, 9, *found.tokens])
        again = got_one(SESSIONS[kind](network(), 1), prompt=told, length=0, keep_state=True)
        assert found.state is not None
        assert again.state is not None
        assert found.state.read == len(told) == again.state.read
        np.testing.assert_allclose(found.state.logits, again.state.logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("unread", [0, 1, 7, 31])
def test_who_stops_in_the_middle_of_a_chunk_gets_the_state_of_that_token(unread: int) -> None:
    session = FusedSession(network(), 2)
    session.admit(request(seed=1))
    slot = session.admit(request(length=300, keep_state=True))
    assert slot == 1
    tokens: list[int] = []
    while len(tokens) < 40:
        chunk = next(chunk for chunk in session.step() if chunk.slot == slot)
        tokens += chunk.content.tolist()
    assert len(chunk.content) > unread
    state = session.state(slot, unread)
    session.release(slot)
    assert same(
        state, got_one(FusedSession(network(), 1), length=len(tokens) - unread, keep_state=True).state
    )


def test_so_does_who_stops_in_the_last_chunk_or_the_one_that_read_the_prompt() -> None:
    for length, unread in ((20, 5), (20, 19), (1, 1)):
        session = FusedSession(network(), 1)
        session.admit(request(length=length, keep_state=True))
        while not (chunks := session.step()) or not chunks[0].finished:
            pass
        kept = got_one(FusedSession(network(), 1), length=length - unread, keep_state=True).state
        assert same(session.state(0, unread), kept)


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_state_shows_the_network_s_own_logits_whatever_they_were_changed_to(kind: str) -> None:
    ends = frozenset({7})
    for told in ({"bias": {7: 100.0}, "ends": ends}, {"bias": {7: 100.0}}, {"logprobs": 2, "ends": ends}):
        one = got_one(SESSIONS[kind](network(), 1), keep_state=True, length=9, temperature=0.0, **told)
        told_so = np.array([0, 5, 9, *one.tokens])
        plain = got_one(SESSIONS[kind](network(), 1), prompt=told_so, length=0, keep_state=True)
        assert one.state is not None
        assert plain.state is not None
        np.testing.assert_allclose(one.state.logits, plain.state.logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", SESSIONS)
def test_two_streams_go_on_from_one_state_which_stays_as_it_was(kind: str) -> None:
    begun = got_one(SESSIONS[kind](network(), 1), keep_state=True).state
    assert begun is not None
    before = {name: array.copy() for name, array in begun.to_arrays().items()}
    jobs = [request(start=begun, prompt=words(4, seed), seed=seed) for seed in range(3)]
    together = got(SESSIONS[kind](network(), 3), jobs)
    assert [one.tokens for one in together] == [
        got(SESSIONS[kind](network(), 1), [job])[0].tokens for job in jobs
    ]
    assert all(np.array_equal(before[name], array) for name, array in begun.to_arrays().items())


@pytest.mark.parametrize("kind", SESSIONS)
def test_another_network_s_state_and_tokens_that_are_none_are_refused(kind: str) -> None:
    session = SESSIONS[kind](network(), 8)
    state = got_one(TokenSession(network(), 1), keep_state=True).state
    other = got_one(TokenSession(network("gru"), 1), keep_state=True).state
    assert state is not None
    bad = [other, replace(state, logits=state.logits[:-1]), replace(state, parts=state.parts[:-1])]
    for part, number in ((2, -1.0), (2, V), (2, 0.5), (2, np.nan), (3, V + 1), (3, -1.0), (3, np.inf)):
        changed = [array.copy() for array in state.parts]
        changed[part][0, -1] = number
        bad.append(replace(state, parts=tuple(changed)))
    for start in bad:
        with pytest.raises(ValueError, match="this state"):
            session.admit(request(start=start))
    with pytest.raises(ValueError, match="no prompt"):
        session.admit(request(prompt=EMPTY))
    assert session.admit(request(start=state)) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("logits"),
        lambda arrays: arrays.pop("part.0"),
        lambda arrays: arrays.update(more=np.zeros(1)),
        lambda arrays: arrays.update(read=np.array([-1])),
        lambda arrays: arrays.update(read=np.array(5)),
        lambda arrays: arrays.update(logits=np.zeros((1, V), np.float32)),
        lambda arrays: arrays.update({"part.1": np.zeros((1, 48))}),
        lambda arrays: arrays.update({"part.1": np.zeros((2, 48), np.float32)}),
        lambda arrays: arrays.clear(),
    ],
)
def test_arrays_that_are_no_state_are_refused(change: Any) -> None:
    state = got_one(TokenSession(network(), 1), keep_state=True).state
    assert state is not None
    arrays = state.to_arrays()
    change(arrays)
    with pytest.raises(ValueError, match="state"):
        StreamState.from_arrays(arrays)
