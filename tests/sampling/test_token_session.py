"""Many requests stepped together: each gets what it would get alone, in whichever slot and beside whatever."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch

from bowerbird.data.codecs.grammar import Grammar
from bowerbird.data.codecs.notes import Notes
from bowerbird.data.tune import Metre, parse
from bowerbird.models.cells import CELLS
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.sampling.fused_session import FusedSession
from bowerbird.sampling.session import Session, run_all
from bowerbird.sampling.tokens import TILE, TokenRequest, TokenSession

Sessions = Callable[[RNN, int], Session[TokenRequest]]
PATHS: dict[str, Any] = {"torch": TokenSession, "fused": partial(FusedSession, quantum=3)}
V = 61
END, BANNED = 0, frozenset({1, 2, 3})


@cache
def network(cell: str = "lstm", width: int = 48, layers: int = 1) -> RNN:
    torch.manual_seed(13)
    built = RNN(RNNConfig(cell=cell, width=width, layers=layers, embedding=16), V)
    for parameter in built.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.4)
    return built.eval()


def request(**options: Any) -> TokenRequest:
    told: dict[str, Any] = {"prompt": np.array([0, 5, 9]), "length": 16, "ends": frozenset({END}), "seed": 5}
    return TokenRequest(**{**told, "banned": BANNED, **options})


OTHERS = [
    request(
        prompt=np.random.default_rng(number).integers(0, V, 1 + number % 7),
        seed=number,
        length=5 + number * 3 % 20,
        temperature=(0.0, 0.5, 1.0, 2.0)[number % 4],
        top_k=(None, 3, 20)[number % 3],
        top_p=(None, 0.5, 0.9, None, 0.99)[number % 5],
        min_p=(None, None, 0.1)[number % 3],
        repetition_penalty=(1.0, 1.5)[number % 2],
    )
    for number in range(24)
]
PROBES = [
    request(),
    request(temperature=0.0),
    request(temperature=1.4, top_p=0.9, repetition_penalty=1.3),
    request(top_k=7, min_p=0.02, prompt=np.array([0])),
]


@pytest.fixture(params=PATHS)
def sessions(request: pytest.FixtureRequest) -> Sessions:
    """Each way to open a session."""
    made: Sessions = PATHS[request.param]
    return made


def made(
    sessions: Sessions, model: RNN, jobs: list[TokenRequest], slots: int = TILE
) -> list[tuple[list[int], str]]:
    """(tokens, how it ended) of each request."""
    tokens: dict[int, list[int]] = {index: [] for index in range(len(jobs))}
    ends: dict[int, str] = {}
    for index, chunk in ((found.index, found.chunk) for found in run_all(sessions(model, slots), jobs)):
        tokens[index] += chunk.content.tolist()
        if chunk.finished:
            ends[index] = chunk.finished
    return [(tokens[index], ends[index]) for index in tokens]


@pytest.mark.parametrize(
    "probe", PROBES, ids=lambda probe: f"t{probe.temperature}-p{probe.top_p}-k{probe.top_k}"
)
@pytest.mark.parametrize("beside", [2, 7, 19])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_batching_changes_no_token(sessions: Sessions, cell: str, beside: int, probe: TokenRequest) -> None:
    model = network(cell)
    alone = made(sessions, model, [probe])[0]
    for place in {0, beside}:
        jobs = [*OTHERS[:place], probe, *OTHERS[place:beside]]
        assert made(sessions, model, jobs, slots=len(jobs))[place] == alone


@pytest.mark.parametrize(("width", "layers"), [(192, 1), (256, 2), (384, 1)])
def test_batching_changes_no_bit_of_the_logits_at_real_widths(
    sessions: Sessions, width: int, layers: int
) -> None:
    model = network("lstm", width, layers)
    probe = request(length=30, ends=frozenset())

    def logits(before: int) -> Any:
        session = sessions(model, 24)
        for other in OTHERS[:before]:
            session.admit(other)
        slot = session.admit(probe)
        assert slot == before
        for _ in range(6):
            session.step()
        if isinstance(session, FusedSession):
            return session._rows.scores[slot].tolist()
        return session._logits[slot].tolist()  # type: ignore[attr-defined]

    alone = logits(0)
    for before in (1, 4, 6, 7, 13, 23):
        assert logits(before) == alone, f"in slot {before}"


def test_more_requests_than_slots_wait_and_change_nothing(sessions: Sessions) -> None:
    alone = [made(sessions, network(), [job])[0] for job in OTHERS]
    assert made(sessions, network(), OTHERS, slots=8) == alone


def test_a_freed_slot_is_used_again_clean(sessions: Sessions) -> None:
    for probe in PROBES:
        session = sessions(network(), 8)
        dirty = request(length=3, ends=frozenset({0, 7, 8}), banned=frozenset(range(20, 50)), seed=99)
        for _ in range(TILE):
            assert session.admit(dirty) is not None
        while session.step():
            pass
        slot, tokens = session.admit(probe), []
        while chunks := session.step():
            tokens += [token for chunk in chunks for token in chunk.content.tolist() if chunk.slot == slot]
        assert (slot, tokens) == (0, made(sessions, network(), [probe])[0][0])


def test_a_released_slot_is_free_at_once_and_leaves_the_others_alone(sessions: Sessions) -> None:
    session = sessions(network(), 8)
    slots = [session.admit(OTHERS[0]), session.admit(PROBES[0])]
    session.step()
    session.release(0)
    tokens: list[int] = []
    assert session.admit(OTHERS[5]) == 0
    first = made(sessions, network(), [PROBES[0]])[0][0]
    while chunks := session.step():
        tokens += [token for chunk in chunks if chunk.slot == slots[1] for token in chunk.content.tolist()]
    assert tokens == first[1:]


def test_a_full_session_takes_no_more_and_torch_s_slots_come_in_tiles() -> None:
    session: Session[TokenRequest] = TokenSession(network(), 3)
    assert [session.admit(request()) for _ in range(TILE + 1)] == [*range(TILE), None]
    session = FusedSession(network(), 3)
    assert [session.admit(request()) for _ in range(4)] == [0, 1, 2, None]


def test_the_likeliest_tokens_are_those_of_the_whole_sequence_read_at_once(sessions: Sessions) -> None:
    for cell in CELLS if sessions is TokenSession else ("lstm", "gru"):
        tokens = made(sessions, network(cell), [request(temperature=0.0, length=15, ends=frozenset())])[0][0]
        sequence = [0, 5, 9]
        for token in tokens:
            with torch.no_grad():
                logits = network(cell)(torch.tensor([sequence]), network(cell).start(1))[0][0, -1]
            logits[sorted(BANNED)] = -torch.inf
            assert token == int(logits.argmax())
            sequence.append(token)


def test_banned_tokens_are_never_made(sessions: Sessions) -> None:
    banned = frozenset(range(1, 50))
    jobs = [request(banned=banned, temperature=5.0, seed=seed, length=30) for seed in range(8)]
    tokens = {token for found, _ in made(sessions, network(), jobs) for token in found}
    assert tokens
    assert not tokens & banned


def test_an_end_ends_the_request_and_is_not_given_out(sessions: Sessions) -> None:
    ends = frozenset(range(30))
    for seed in range(8):
        tokens, reason = made(
            sessions, network(), [request(ends=ends, seed=seed, length=60, temperature=2.0)]
        )[0]
        assert reason == "stop"
        assert tokens, "the first token is never an end"
        assert not set(tokens) & ends


def test_a_request_that_reaches_its_length_says_so(sessions: Sessions) -> None:
    assert [
        len(made(sessions, network(), [request(length=length, ends=frozenset())])[0][0])
        for length in (1, 2, 17)
    ] == [1, 2, 17]
    assert made(sessions, network(), [request(length=3, ends=frozenset())])[0][1] == "length"


def test_the_same_seed_gives_the_same_tokens_and_another_others(sessions: Sessions) -> None:
    first, again, other = (made(sessions, network(), [request(seed=seed)])[0] for seed in (1, 1, 2))
    assert first == again != other


def test_a_long_prompt_is_read_in_parts_to_the_same_end(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bowerbird.sampling import pacing, prompts

    prompt = np.random.default_rng(1).integers(0, V, 50)
    whole = made(sessions, network(), [request(prompt=prompt, temperature=0.0)])
    monkeypatch.setattr(prompts, "PIECE", 16)
    monkeypatch.setattr(pacing, "_READ_SECONDS", 0.0)
    assert made(sessions, network(), [request(prompt=prompt, temperature=0.0)]) == whole


def test_a_dropped_request_ends_and_those_waiting_get_its_slot(sessions: Sessions) -> None:
    dropped: set[int] = set()
    seen: dict[int, list[int]] = {index: [] for index in range(10)}
    jobs = [request(length=20, ends=frozenset()) for _ in seen]
    for found in run_all(sessions(network(), 8), jobs, dropped):
        seen[found.index] += found.chunk.content.tolist()
        if found.index in (0, 9) and len(seen[found.index]) >= 3:
            dropped.add(found.index)
    sizes = [len(tokens) for tokens in seen.values()]
    assert sizes[1:9] == [20] * 8
    assert 3 <= sizes[0] < 6
    assert 3 <= sizes[9] < 6


class Alternating:
    """Low tokens and high ones by turns; an end after five, and nothing else after nine."""

    def __init__(self, soonest: int = 5) -> None:
        self.soonest, self.told = soonest, list[int]()

    def allowed(self) -> Any:
        mask = (np.arange(V) < 30) == (len(self.told) % 2 == 0)
        mask &= len(self.told) < self.soonest + 4
        mask[END] = len(self.told) >= self.soonest
        return mask

    def push(self, token: int) -> None:
        self.told.append(token)


def guided(soonest: int = 5, **options: Any) -> TokenRequest:
    return request(length=40, guide=Alternating(soonest), **options)


def test_a_guide_is_obeyed_at_each_step_and_told_of_each_token(sessions: Sessions) -> None:
    jobs = [guided(seed=seed, temperature=3.0) for seed in range(12)]
    for job, (tokens, reason) in zip(jobs, made(sessions, network(), jobs), strict=True):
        assert isinstance(job.guide, Alternating)
        assert job.guide.told == tokens
        assert reason == "stop"
        assert 5 <= len(tokens) <= 9
        assert [token < 30 for token in tokens] == [place % 2 == 0 for place in range(len(tokens))]
        assert not BANNED & set(tokens)


def test_a_guided_answer_may_be_empty_if_the_guide_has_it_so(sessions: Sessions) -> None:
    found = made(sessions, network(), [guided(0, banned=frozenset(range(1, V)))])
    assert found == [([], "stop")]


def test_guided_and_other_requests_leave_each_other_alone(sessions: Sessions) -> None:
    alone = made(sessions, network(), [guided(seed=3)])[0]
    plain = made(sessions, network(), OTHERS[:4])
    mixed = made(sessions, network(), [OTHERS[0], guided(seed=3), *OTHERS[1:4]])
    assert mixed[1] == alone
    assert [mixed[0], *mixed[2:]] == plain
    session = sessions(network(), 8)
    session.admit(guided())
    session.step()
    session.release(0)
    assert made(lambda model, slots: session, network(), [request()]) == made(
        sessions, network(), [request()]
    )


def test_both_paths_make_the_same_guided_tokens() -> None:
    options: list[dict[str, Any]] = [{}, {"temperature": 0.0}, {"top_p": 0.8, "repetition_penalty": 1.3}]
    for told in options:
        one, other = (
            made(path, network("gru"), [guided(seed=seed, **told) for seed in range(6)])
            for path in PATHS.values()
        )
        assert one == other


def test_a_network_that_knows_nothing_makes_whole_tunes_by_their_grammar(sessions: Sessions) -> None:
    codec = Notes(metres=(Metre(4, 4), Metre(3, 4)), voices=(1, 2))
    torch.manual_seed(3)
    model = RNN(RNNConfig(cell="lstm", width=16, embedding=8), codec.vocab_size).eval()
    jobs = [
        request(prompt=np.array([0]), length=90, seed=seed, guide=Grammar(codec, bars=4, budget=90))
        for seed in range(8)
    ]
    for tokens, reason in made(sessions, model, jobs):
        assert reason == "stop"
        assert len(parse(codec.decode(tokens)).metres) == 4
