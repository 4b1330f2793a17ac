"""Log-probabilities over HTTP: the network's own, in OpenAI's shape, each beside its place in the text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.serving.answers import choices, events

from bowerbird.data.markers import DOCUMENT
from bowerbird.kinds.loaded import Model

PATH = "/v1/completions"
NEAR = 1e-3
"""Steps of the compiled kernel and the network's own scan round differently."""
ODD = "the\r\nse\u0301a \u6d77\ufdd0 \ufdd7so"
"""Line ends, letters and noncharacters that a model reads in another form."""
READ = "the\ns\u00e9a \u6d77 so"


def judged(model: Model, text: str) -> NDArray[np.float64]:
    """(T, V) log-probabilities before each token of a document."""
    tokens = model.codec.encode(DOCUMENT + text).astype(np.int64)[:-1]
    network: Any = model.network
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(tokens)[None], network.start(1))
    found: NDArray[np.float64] = torch.log_softmax(logits[0].double(), -1).numpy()
    return found


def named(model: Model, token: int) -> str:
    if token < 4:
        return ("<|document|>", "<|system|>", "<|user|>", "<|assistant|>")[token]
    raw = model.codec.decoder().raw(token)
    return f"half:{raw:x}" if isinstance(raw, int) else raw.decode()


def check_rows(model: Model, told: dict[str, Any], text: str, begin: int, most: int) -> None:
    """That these are the rows of `text` from its token `begin` on."""
    tokens = model.codec.encode(text).tolist()[begin:]
    rows = judged(model, text)[begin:]
    assert told["tokens"] == [named(model, token) for token in tokens]
    expected = rows[np.arange(len(tokens)), tokens]
    np.testing.assert_allclose(told["token_logprobs"], expected, atol=NEAR)
    for token, row, top in zip(tokens, rows, told["top_logprobs"], strict=True):
        assert most <= len(top) <= most + 1
        assert named(model, token) in top
        np.testing.assert_allclose(
            sorted(top.values(), reverse=True)[:most], np.sort(row)[::-1][:most], atol=NEAR
        )
        by_name = {named(model, index): value for index, value in enumerate(row)}
        np.testing.assert_allclose(list(top.values()), [by_name[name] for name in top], atol=NEAR)


def check_places(told: dict[str, Any], text: str) -> None:
    """That each token stands in the text where it says."""
    places = told["text_offset"]
    assert len(places) == len(told["tokens"])
    assert places == sorted(places)
    for token, place in zip(told["tokens"], places, strict=True):
        if not token.startswith(("half:", "bytes:", "<|")):
            assert text[place : place + len(token)] == token


@pytest.mark.parametrize("most", [0, 1, 5])
def test_each_token_is_told_with_its_own_and_the_likeliest(everything: Any, model: Model, most: int) -> None:
    made = everything.made(PATH, model="tiny", prompt="the sea", seed=3, max_tokens=20, logprobs=most)
    [choice] = made["choices"]
    told = choice["logprobs"]
    assert set(told) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
    check_rows(model, told, "the sea" + choice["text"], len("the sea"), most)
    check_places(told, choice["text"])
    assert len(told["tokens"]) == made["usage"]["completion_tokens"]


def test_they_are_not_told_where_they_are_not_asked_for(everything: Any) -> None:
    for asked in ({}, {"logprobs": None}, {"best_of": 3}):
        made = everything.made(PATH, model="tiny", prompt="the sea", seed=3, **asked)
        assert made["choices"][0]["logprobs"] is None


def test_the_answer_is_the_same_with_and_without(everything: Any) -> None:
    asked = {"model": "tiny", "prompt": "the sea", "seed": 3, "max_tokens": 60, "n": 3}
    plain = everything.made(PATH, **asked)
    told = everything.made(PATH, **asked, logprobs=5)
    assert [choice["text"] for choice in told["choices"]] == [choice["text"] for choice in plain["choices"]]
    assert told["usage"] == plain["usage"]


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 0.3},
        {"temperature": 0},
        {"top_p": 0.5, "top_k": 4, "min_p": 0.1},
        {"logit_bias": {"0": -100, "30": 5}},
        {"frequency_penalty": 2, "presence_penalty": 2, "repetition_penalty": 3},
    ],
    ids=lambda value: "+".join(value),
)
def test_they_are_those_before_whatever_changes_the_odds(
    everything: Any, model: Model, changed: dict[str, Any]
) -> None:
    asked = {"model": "tiny", "prompt": "the sea", "seed": 3, "max_tokens": 20, "logprobs": 2}
    [choice] = everything.made(PATH, **asked, **changed)["choices"]
    check_rows(model, choice["logprobs"], "the sea" + choice["text"], len("the sea"), 2)


def test_an_echoed_prompt_has_its_own_though_nothing_is_made(everything: Any, model: Model) -> None:
    made = everything.made(PATH, model="tiny", prompt="so be it", echo=True, max_tokens=0, logprobs=3)
    [choice] = made["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("so be it", "length")
    check_rows(model, choice["logprobs"], "so be it", 0, 3)
    assert choice["logprobs"]["text_offset"] == list(range(8))
    assert made["usage"] == {"prompt_tokens": 8, "completion_tokens": 0, "total_tokens": 8}


def test_an_echo_goes_on_into_what_is_made(everything: Any, model: Model) -> None:
    asked = {"model": "tiny", "prompt": "so be it", "seed": 4, "max_tokens": 12, "logprobs": 1}
    [choice] = everything.made(PATH, **asked, echo=True)["choices"]
    check_rows(model, choice["logprobs"], choice["text"], 0, 1)
    assert choice["logprobs"]["text_offset"] == list(range(len(choice["text"])))
    [without] = everything.made(PATH, **asked)["choices"]
    assert choice["text"] == "so be it" + without["text"]
    assert choice["logprobs"]["tokens"][8:] == without["logprobs"]["tokens"]


def test_of_a_long_prompt_every_token_is_judged(everything: Any, model: Model) -> None:
    text = "the lark was under the stone\n" * 170
    asked = {"model": "tiny", "prompt": text, "max_tokens": 0, "echo": True, "logprobs": 0}
    [choice] = everything.made(PATH, **asked)["choices"]
    check_rows(model, choice["logprobs"], text, 0, 0)


def test_an_echo_is_the_prompt_as_it_was_read(everything: Any, model: Model) -> None:
    """Its tokens lie where they say, whatever the prompt was written with."""
    asked = {"model": "tiny", "prompt": ODD, "seed": 4, "max_tokens": 8, "logprobs": 1}
    [choice] = everything.made(PATH, **asked, echo=True)["choices"]
    assert choice["text"].startswith(READ)
    check_places(choice["logprobs"], choice["text"])
    made = choice["logprobs"]["text_offset"][-1]
    assert len(READ) <= made < len(choice["text"])


def test_a_chats_markers_have_names_and_no_place(everything: Any) -> None:
    asked = {"model": "talk", "prompt": "hi\n", "max_tokens": 0, "logprobs": 0, "echo": True}
    [choice] = everything.made(PATH, **asked)["choices"]
    assert choice["text"] == "hi\n"
    assert choice["logprobs"]["tokens"] == ["<|user|>", "h", "i", "\n", "<|assistant|>"]
    assert choice["logprobs"]["text_offset"] == [0, 0, 1, 2, 3]


def test_tokens_that_are_no_whole_characters_are_told_as_their_bytes(everything: Any) -> None:
    talk = everything.models["talk"]
    tokens = talk.codec.encode("a\u00df").tolist()
    asked = {"model": "talk", "max_tokens": 0, "logprobs": 0, "echo": True}
    [choice] = everything.made(PATH, **asked, prompt=tokens)["choices"]
    assert choice["text"] == "a\u00df"
    assert choice["logprobs"]["tokens"] == ["a", "half:c", "half:3", "half:9", "half:f"]
    assert choice["logprobs"]["text_offset"] == [0, 1, 1, 1, 1]
    [cut] = everything.made(PATH, **asked, prompt=tokens[:-1])["choices"]
    assert cut["logprobs"]["tokens"] == choice["logprobs"]["tokens"][:-1]


def stopped(model: Model, **asked: Any) -> str:
    """A stop string from the middle of what would be made."""
    text = model.generate(length=asked["max_tokens"], seed=asked["seed"], prompt="the ", temperature=1.0)[0].text
    assert len(text) > 25
    return text[20:23]


def test_what_comes_after_a_stop_string_begins_is_not_told(everything: Any, model: Model) -> None:
    asked = {"model": "tiny", "prompt": "the ", "seed": 5, "max_tokens": 60, "logprobs": 0}
    [choice] = everything.made(PATH, **asked, stop=stopped(model, **asked))["choices"]
    assert choice["finish_reason"] == "stop"
    assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
    check_places(choice["logprobs"], choice["text"])


def test_the_first_bytes_of_a_stop_string_are_not_told_either(everything: Any) -> None:
    """Of a character in halves of bytes, of which only the last gives text."""
    halves = everything.models["talk"].codec.encode("\u00df").tolist()
    favoured = {str(token): 60 for token in halves}
    asked = {"model": "talk", "temperature": 2, "max_tokens": 400, "logprobs": 0, "logit_bias": favoured}
    seen = 0
    for seed in range(12):
        whole = everything.made(PATH, **asked, prompt="a", seed=seed)["choices"][0]
        for stop in sorted(set(whole["text"][3:]) - set(whole["text"][:3]) - {"\ufffd"}, key=whole["text"].find)[:1]:
            plain = everything.made(PATH, **asked, prompt="a", seed=seed, stop=stop)["choices"][0]
            before = whole["text"].index(stop)
            count = sum(place < before for place in whole["logprobs"]["text_offset"])
            assert plain["text"] == whole["text"][:before]
            assert plain["logprobs"]["tokens"] == whole["logprobs"]["tokens"][:count]
            streamed = everything.ask(PATH, **asked, prompt="a", seed=seed, stop=stop, stream=True)
            assert choices(events(streamed))[0].logprobs == plain["logprobs"]
            seen += 1
    assert seen


@pytest.mark.parametrize("extra", [{}, {"echo": True}, {"best_of": 3}, {"stop": ["e ", "\n"]}], ids=str)
def test_a_streams_rows_are_those_of_the_whole(everything: Any, extra: dict[str, Any]) -> None:
    asked = {"prompt": ["the sea", ODD], "n": 2, "seed": 9, "max_tokens": 40, "logprobs": 2}
    for model in ("tiny", "talk"):
        whole = everything.made(PATH, model=model, **asked, **extra)["choices"]
        found = choices(events(everything.ask(PATH, model=model, **asked, **extra, stream=True)))
        assert sorted(found) == [0, 1, 2, 3]
        for choice in whole:
            streamed = found[choice["index"]]
            assert streamed.text == choice["text"]
            assert streamed.ends == [choice["finish_reason"]]
            rows = streamed.logprobs or {name: [] for name in choice["logprobs"]}
            assert rows == choice["logprobs"]
            check_places(choice["logprobs"], choice["text"])
