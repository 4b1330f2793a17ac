"""The fields that change what a completion draws, and how much: each does what it says, alone or in company."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from tests.serving.answers import choices, error, events

from bowerbird.data.markers import DOCUMENT
from bowerbird.kinds.loaded import Model
from bowerbird.serving.app import create_app
from bowerbird.serving.limits import Limits

PATH = "/v1/completions"


def texts(made: Any) -> list[str]:
    return [choice["text"] for choice in made["choices"]]


def token(model: Model, letter: str) -> str:
    [number] = model.codec.encode(letter).tolist()
    return str(number)


def greedy(model: Model, prompt: str, length: int, bias: dict[str, float], often: float, once: float) -> str:
    """By hand: the likeliest token, after what its number and its having been made change."""
    network: Any = model.network
    made: list[int] = []
    with torch.no_grad():
        logits, state = network(
            torch.from_numpy(model.codec.encode(DOCUMENT + prompt).astype(np.int64))[None], network.start(1)
        )
        while len(made) < length:
            odds = logits[0, -1].double().numpy().copy()
            for number, value in bias.items():
                odds[int(number)] += value
            for number in set(made):
                odds[number] -= often * made.count(number) + once
            odds[1:4] = -np.inf  # speakers' markers, which a model without turns never makes
            if not made:
                odds[0] = -np.inf  # an answer is never empty
            if (best := int(odds.argmax())) == 0:
                break
            made.append(best)
            logits, state = network(torch.tensor([[best]]), state)
    return model.codec.decode(made)


@pytest.mark.parametrize(
    ("bias", "often", "once"),
    [
        ({"e": 4.0, "\n": -100.0, "s": -2.5}, 0.0, 0.0),
        ({}, 0.7, 0.0),
        ({}, 0.0, 2.0),
        ({}, -0.4, -1.0),
        ({"t": 3.0, " ": -1.0}, 0.5, 0.25),
    ],
    ids=str,
)
def test_bias_and_penalties_are_openais(
    everything: Any, model: Model, bias: dict[str, float], often: float, once: float
) -> None:
    by_number = {token(model, letter): value for letter, value in bias.items()}
    asked = {"model": "tiny", "prompt": "the sea", "temperature": 0, "max_tokens": 40}
    fields = {"logit_bias": by_number, "frequency_penalty": often, "presence_penalty": once}
    [text] = texts(everything.made(PATH, **asked, **fields))
    assert text == greedy(model, "the sea", 40, by_number, often, once)
    assert text != texts(everything.made(PATH, **asked))[0]


def test_a_bias_of_100_makes_a_token_and_of_minus_100_never(everything: Any, model: Model) -> None:
    asked = {"model": "tiny", "prompt": "the ", "seed": 2, "max_tokens": 30}
    assert texts(everything.made(PATH, **asked, logit_bias={token(model, "e"): 100})) == ["e" * 30]
    never = {token(model, letter): -100 for letter in "ae t"}
    [text] = texts(everything.made(PATH, **asked, logit_bias=never, n=1))
    assert not set(text) & set("ae t")


def test_a_bias_that_forbids_the_end_lets_a_text_go_on(everything: Any) -> None:
    asked = {"model": "tiny", "prompt": "so be it\n", "n": 8, "seed": 1, "max_tokens": 300}
    made = everything.made(PATH, **asked, logit_bias={"0": -100})
    assert [choice["finish_reason"] for choice in made["choices"]] == ["length"] * 8
    assert made["usage"]["completion_tokens"] == 2400


@pytest.mark.parametrize("stream", [False, True])
def test_the_best_are_those_whose_tokens_are_the_likeliest(everything: Any, stream: bool) -> None:
    asked = {"model": "tiny", "prompt": ["the ", "so"], "max_tokens": 15, "temperature": 1.3}
    made = everything.made(PATH, **asked, seed=20, n=6, logprobs=0)
    expected: list[str] = []
    for first in (0, 6):
        group = made["choices"][first : first + 6]
        means = [
            np.mean(told) if (told := choice["logprobs"]["token_logprobs"]) else -np.inf for choice in group
        ]
        expected += [group[place]["text"] for place in np.argsort(means)[::-1][:2]]
    body = {**asked, "seed": 20, "n": 2, "best_of": 6}
    if stream:
        told = events(everything.ask(PATH, **body, stream=True, stream_options={"include_usage": True}))
        found = choices(told)
        assert [found[index].text for index in range(4)] == expected
        assert told[-1]["usage"] == made["usage"]
    else:
        best = everything.made(PATH, **body)
        assert texts(best) == expected
        assert [choice["index"] for choice in best["choices"]] == [0, 1, 2, 3]
        assert best["usage"] == made["usage"]


def test_best_of_fewer_than_n_is_as_n(everything: Any) -> None:
    asked = {"model": "tiny", "prompt": "the ", "seed": 6, "max_tokens": 12, "n": 3}
    plain = everything.made(PATH, **asked)
    for best_of in (None, 1, 3):
        assert texts(everything.made(PATH, **asked, best_of=best_of)) == texts(plain)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("echo", [False, True])
def test_no_tokens_are_made_where_none_are_wanted(everything: Any, stream: bool, echo: bool) -> None:
    asked = {"model": "tiny", "prompt": ["the sea", "so"], "n": 2, "max_tokens": 0, "echo": echo}
    expected = ["the sea", "the sea", "so", "so"] if echo else [""] * 4
    usage = {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}
    if stream:
        told = events(everything.ask(PATH, **asked, stream=True, stream_options={"include_usage": True}))
        found = choices(told)
        assert [found[index].text for index in range(4)] == expected
        assert [found[index].ends for index in range(4)] == [["length"]] * 4
        assert told[-1]["usage"] == usage
    else:
        made = everything.made(PATH, **asked)
        assert texts(made) == expected
        assert {choice["finish_reason"] for choice in made["choices"]} == {"length"}
        assert made["usage"] == usage


def test_a_prompt_of_tokens_is_echoed_and_may_bring_its_own_beginning(everything: Any, model: Model) -> None:
    tokens = model.codec.encode("the sea").tolist()
    asked = {"model": "tiny", "seed": 2, "max_tokens": 20, "echo": True}
    expected = everything.made(PATH, **asked, prompt="the sea")
    for prompt in (tokens, [tokens], [0, *tokens]):
        made = everything.made(PATH, **asked, prompt=prompt)
        assert (texts(made), made["usage"]) == (texts(expected), expected["usage"])
    beyond = everything.ask(PATH, **asked, prompt=[*tokens, model.codec.vocab_size])
    assert error(beyond) == (400, "invalid_value", "prompt")


def test_a_suffix_is_refused(everything: Any) -> None:
    for nothing in (None, ""):
        assert everything.ask(PATH, model="tiny", max_tokens=1, suffix=nothing).status_code == 200
    for given in (" the end", 5, []):
        answer = everything.ask(PATH, model="tiny", max_tokens=1, suffix=given)
        assert error(answer) == (400, "unsupported_parameter", "suffix")


def test_the_last_seeds_there_are(everything: Any) -> None:
    last = (1 << 63) - 1
    made = everything.made(PATH, model="tiny", prompt="the ", seed=last - 1, n=2)
    assert texts(made)[1] == texts(everything.made(PATH, model="tiny", prompt="the ", seed=last))[0]
    for path, model in (("melodies/generations", "tunes"), ("images/generations", "shapes")):
        assert everything.ask(f"/v1/{path}", model=model, seed=last, n=3).status_code == 200


def test_without_a_seed_each_answer_is_another(everything: Any) -> None:
    asked = {"model": "tiny", "prompt": "the ", "max_tokens": 60}
    assert len({texts(everything.made(PATH, **asked))[0] for _ in range(3)}) == 3


def test_a_stream_is_the_whole_in_pieces_whatever_is_asked(everything: Any) -> None:
    asked: dict[str, Any] = {"prompt": ["the sea", "\u6d77 caf\u00e9"], "n": 2, "seed": 30, "max_tokens": 80}
    varied: list[dict[str, Any]] = [
        {"stop": ["e", "so be"]},
        {"stop": "\n", "echo": True},
        {"frequency_penalty": 1.5, "presence_penalty": -1, "logit_bias": {"5": 3}},
        {"top_k": 5, "min_p": 0.02, "repetition_penalty": 1.2, "temperature": 1.7, "top_p": 0.8},
        {"best_of": 4, "logprobs": 1, "echo": True},
    ]
    for fields in varied:
        for model in ("tiny", "talk"):
            body = {"model": model, **asked, **fields}
            whole = everything.made(PATH, **body)
            told = events(everything.ask(PATH, **body, stream=True, stream_options={"include_usage": True}))
            found = choices(told)
            assert [found[index].text for index in range(4)] == texts(whole)
            assert [found[index].ends for index in range(4)] == [
                [choice["finish_reason"]] for choice in whole["choices"]
            ]
            assert told[-1]["usage"] == whole["usage"]
            assert len({event["id"] for event in told}) == 1
            assert {event["object"] for event in told} == {"text_completion"}


def test_stop_strings_may_be_empty_or_lie_within_each_other(everything: Any) -> None:
    asked = {"model": "tiny", "prompt": "the ", "seed": 5, "max_tokens": 60}
    [whole] = texts(everything.made(PATH, **asked))
    for stop in ("", [], ["", ""], ["never seen"]):
        assert texts(everything.made(PATH, **asked, stop=stop)) == [whole]
    inner, outer = whole[12:14], whole[11:16]
    for stop in ([inner, outer], [outer, inner]):  # the first to be whole ends it
        assert texts(everything.made(PATH, **asked, stop=stop)) == [whole[: whole.index(inner)]]
    assert texts(everything.made(PATH, **asked, stop=whole[:1000])) == [""]


def test_a_seeds_answer_does_not_depend_on_its_company(everything: Any) -> None:
    """Requests of every path through the sessions at once: each gets what it gets alone."""
    varied: list[dict[str, Any]] = [
        {},
        {"logprobs": 3},
        {"frequency_penalty": 1, "logit_bias": {"30": 2}},
        {"stop": "e", "best_of": 3},
        {"echo": True, "logprobs": 1, "n": 3},
        {"repetition_penalty": 1.5, "top_k": 7},
        {"max_tokens": 0, "echo": True, "logprobs": 2},
        {"prompt": "the stone was under the sea\n" * 100},
    ]

    def asked(number: int) -> Any:
        fields = {"model": "tiny", "prompt": f"the {number}", "seed": number, "max_tokens": 50}
        return everything.made(PATH, **fields | varied[number % len(varied)])["choices"]

    alone = [asked(number) for number in range(40)]
    with ThreadPoolExecutor(40) as pool:
        together = list(pool.map(asked, range(40)))
    for one, other in zip(alone, together, strict=True):
        assert [{**choice, "logprobs": None} for choice in one] == [
            {**choice, "logprobs": None} for choice in other
        ]
        for first, second in zip(one, other, strict=True):
            assert first["logprobs"] == second["logprobs"]


def test_a_server_may_allow_more_tokens_than_a_command_line_does(model: Model) -> None:
    app = create_app({"tiny": model}, limits=Limits(output_tokens=3_000_000))
    with TestClient(app) as client:
        asked = {"model": "tiny", "prompt": "the ", "logit_bias": {"0": 100}}
        made = client.post(PATH, json={**asked, "max_tokens": 2_000_000}).json()
        assert made["usage"]["completion_tokens"] == 1
        answer: Any = client.post(PATH, json={**asked, "max_tokens": 3_000_001})
        assert error(answer) == (400, "invalid_value", "max_tokens")
        answer = client.post(PATH, json={**asked, "max_tokens": 1 << 25})
        assert error(answer) == (400, "invalid_value", "max_tokens")
