"""Prompts are read in steps: short ones together, long ones in pieces, nobody waits, and no bit depends on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from tests.sampling.streams import SESSIONS, V, got, got_one, network, request, words

from bowerbird.sampling import fused_session, pacing, prompts
from bowerbird.sampling.fused_session import FusedSession
from bowerbird.sampling.tokens import TILE, TokenSession


def tokens_of(session: Any, jobs: Any) -> list[list[int]]:
    return [one.tokens for one in got(session, jobs)]


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_running_stream_goes_on_while_a_long_prompt_is_read(kind: str) -> None:
    long = request(prompt=words(7000), length=5, seed=2)
    alone = tokens_of(SESSIONS[kind](network(), 1), [long])[0]
    session = SESSIONS[kind](network(), 8)
    running = session.admit(request(length=100_000))
    session.step()
    slot, steps, found = session.admit(long), 0, list[int]()
    finished = None
    while finished is None:
        chunks = {chunk.slot: chunk for chunk in session.step()}
        assert running in chunks
        steps += not found
        if slot in chunks:
            found += chunks[slot].content.tolist()
            finished = chunks[slot].finished
    assert found == alone
    assert steps >= 4


@pytest.mark.parametrize("kind", SESSIONS)
def test_how_much_is_read_at_a_time_changes_no_token(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [
        request(prompt=words(1 + 37 * seed, seed), seed=seed, length=1 + seed % 9, temperature=1.3)
        for seed in range(12)
    ]
    before = tokens_of(SESSIONS[kind](network(), 12), jobs)
    assert tokens_of(SESSIONS[kind](network(), 3), jobs[::-1]) == before[::-1]
    monkeypatch.setattr(pacing, "_READ_SECONDS", 0.0)
    monkeypatch.setattr(fused_session, "BLOCK", 2)
    monkeypatch.setattr(prompts, "_MOST_SCANS", 2)
    assert tokens_of(SESSIONS[kind](network(), 12), jobs) == before


def test_a_long_prompt_is_read_on_though_shorter_ones_keep_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_session, "BLOCK", 2)
    monkeypatch.setattr(pacing, "_READ_SECONDS", 0.0)  # a token of each prompt a step
    session = FusedSession(network(), 8)
    session._threads = 1
    slot = session.admit(request(prompt=words(30), length=1))
    for step in range(30):
        while session.admit(request(prompt=words(20), length=1)) is not None:
            pass
        chunks = session.step()
        assert (slot in {chunk.slot for chunk in chunks}) == (step == 29)
        assert session._turns.unread[slot] == 29 - step


@pytest.mark.parametrize("kind", SESSIONS)
def test_many_are_admitted_at_once_or_if_one_is_bad_none(kind: str) -> None:
    session = SESSIONS[kind](network(), TILE)
    jobs = [request(seed=seed) for seed in range(TILE + 2)]
    with pytest.raises(ValueError, match="outside"):
        session.admit_many([*jobs, request(bias={V: 1.0})])
    assert session.admit_many(jobs) == [*range(TILE), None, None]
    found: dict[int, list[int]] = {slot: [] for slot in range(TILE)}
    while chunks := session.step():
        for chunk in chunks:
            found[chunk.slot] += chunk.content.tolist()
    assert list(found.values()) == tokens_of(SESSIONS[kind](network(), TILE), jobs[:TILE])


@pytest.mark.parametrize(
    "wrong",
    [
        {"bias": {-1: 1.0}},
        {"bias": {1: np.nan}},
        {"frequency_penalty": np.inf},
        {"presence_penalty": np.nan},
        {"logprobs": 21},
        {"logprobs": -1},
        {"length": -1},
        {"prompt": np.array([V])},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", SESSIONS)
def test_what_cannot_be_asked_is_refused(kind: str, wrong: dict[str, Any]) -> None:
    session = SESSIONS[kind](network(), 1)
    with pytest.raises(ValueError, match=r"."):
        session.admit(request(**wrong))
    assert session.admit(request()) == 0


def test_memory_is_taken_as_slots_are() -> None:
    fused, plain = FusedSession(network(), 1024), TokenSession(network(), 1024)
    assert len(fused._rows.scores) == 16
    assert len(plain._logits) == TILE
    jobs = [request(seed=seed, length=3 + seed % 5) for seed in range(70)]
    small = tokens_of(FusedSession(network(), 16), jobs)
    for session in (fused, plain):
        slots = session.admit_many(jobs)
        assert slots == list(range(70))
        found: dict[int, list[int]] = {slot: [] for slot in range(70)}
        while chunks := session.step():
            for chunk in chunks:
                found[chunk.slot] += chunk.content.tolist()
        assert list(found.values()) == small
    assert len(fused._rows.scores) == len(fused._turns.noise) == fused._rows.hidden.shape[1] == 128
    assert len(plain._logits) == len(plain._used) == len(plain._banned) == len(plain._state[0]) == 128
    assert plain.bytes_per_slot > 0
    assert 0 < fused.bytes_per_slot < 20_000


def test_a_few_streams_in_far_slots_cost_no_more_than_in_near_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tiles = network("gru"), []
    session = TokenSession(model, 512)
    for seed in range(512):
        session.admit(request(seed=seed, length=100))
    while any(stream.scan is not None for _, stream in session._streams.going()):
        session.step()
    kept = (3, 200, 511)
    for slot in range(512):
        if slot not in kept:
            session.release(slot)
    step = model.step
    monkeypatch.setattr(model, "step", lambda *told: tiles.append(1) or step(*told))
    assert sorted(chunk.slot for chunk in session.step()) == list(kept)
    assert len(tiles) == 1


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("told", [{}, {"logprobs": 1, "presence_penalty": 0.5}], ids=["plain", "single"])
def test_a_paused_stream_waits_in_its_slot_and_then_goes_on_as_if_nothing_had_been(
    kind: str, told: dict[str, Any]
) -> None:
    jobs = [request(seed=seed, length=300, **told) for seed in range(3)]  # more than five steps make
    whole = tokens_of(SESSIONS[kind](network(), 8), jobs)
    session = SESSIONS[kind](network(), 8)
    session.admit_many(jobs)
    found: dict[int, list[int]] = {slot: [] for slot in range(4)}

    def step() -> set[int]:
        chunks = session.step()
        for chunk in chunks:
            found[chunk.slot] += chunk.content.tolist()
        return {chunk.slot for chunk in chunks}

    session.pause(0)  # before its prompt is read
    assert 0 not in step()
    session.pause(1)
    for _ in range(5):
        assert step() <= {2}
    assert session.admit(request(length=1)) == 3
    session.resume(0)
    while step():
        pass
    session.resume(1)
    while step():
        pass
    assert [found[slot] for slot in range(3)] == whole


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_released_slot_is_not_paused_for_the_next(kind: str) -> None:
    session = SESSIONS[kind](network(), 8)
    session.admit(request(seed=3))
    session.step()
    session.pause(0)
    session.release(0)
    assert session.step() == []
    assert tokens_of(session, [request()]) == [got_one(SESSIONS[kind](network(), 1)).tokens]


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_request_for_no_token_reads_and_ends(kind: str) -> None:
    found = got_one(SESSIONS[kind](network(), 1), length=0)
    assert (found.tokens, found.finished, found.state) == ([], "length", None)
