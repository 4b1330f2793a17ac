"""`POST /v1/chat/completions`: messages become the turns a model learnt, and its turn comes back."""

from __future__ import annotations

from typing import Any

import pytest
from tests.serving.answers import choices, error, events

from bowerbird.data.markers import DOCUMENT, ROLES

PATH = "/v1/chat/completions"
WHOLE = {str(token): -100 for token in range(4, 20)}
"""A bias against tokens that spell bytes: what is made is encoded again as the same tokens."""


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


HI = [said("user", "hi")]


def words(made: Any) -> list[str]:
    return [choice["message"]["content"] for choice in made["choices"]]


def completed(everything: Any, text: str, **fields: Any) -> Any:
    """What the model gives after a text with its markers, without any template."""
    tokens = everything.models["talk"].codec.encode(text).tolist()
    return everything.made("/v1/completions", model="talk", prompt=tokens, **fields)


def test_an_answer_has_openais_shape(everything: Any) -> None:
    made = everything.made(PATH, model="talk", messages=HI, seed=3, max_completion_tokens=12)
    assert set(made) == {"id", "object", "created", "model", "system_fingerprint", "choices", "usage"}
    assert made["id"].startswith("chatcmpl-")
    assert (made["object"], made["model"]) == ("chat.completion", "talk")
    [choice] = made["choices"]
    assert set(choice) == {"index", "message", "logprobs", "finish_reason"}
    assert (choice["index"], choice["logprobs"]) == (0, None)
    assert choice["message"] == {
        "role": "assistant",
        "content": choice["message"]["content"],
        "refusal": None,
    }
    assert made["usage"]["prompt_tokens"] == len("hi") + 2
    assert made["usage"]["completion_tokens"] <= 12


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        (HI, [("user", "hi")]),
        (
            [said("system", "be kind"), said("user", "hi"), said("assistant", "well"), said("user", "so?")],
            [("system", "be kind"), ("user", "hi"), ("assistant", "well"), ("user", "so?")],
        ),
        ([said("developer", "be kind"), said("user", "hi")], [("system", "be kind"), ("user", "hi")]),
        ([said("user", "a"), said("user", "")], [("user", "a"), ("user", "")]),
        ([said("assistant", "well")], [("assistant", "well")]),
        ([said("user", "a\r\nb e\u0301")], [("user", "a\nb \u00e9")]),
        ([said("user", "a\ufdd3b\ufdd0\ufdd9c")], [("user", "abc")]),
        ([said("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], [("user", "ab")]),
    ],
    ids=range(8),
)
def test_messages_are_read_as_the_turns_of_a_dataset(
    everything: Any, messages: list[Any], turns: list[tuple[str, str]]
) -> None:
    fields = {"seed": 5, "max_tokens": 40, "n": 2}
    made = everything.made(PATH, model="talk", messages=messages, **fields)
    text = DOCUMENT + "".join(ROLES[role] + said for role, said in turns) + ROLES["assistant"]
    expected = completed(everything, text, **fields)
    assert words(made) == [choice["text"] for choice in expected["choices"]]
    assert made["usage"] == expected["usage"]


def test_a_completion_of_a_chat_model_reads_a_text_as_its_users_turn(everything: Any) -> None:
    fields = {"model": "talk", "seed": 5, "max_tokens": 40}
    completion = everything.made("/v1/completions", prompt="hi", **fields)
    assert completion["choices"][0]["text"] == words(everything.made(PATH, messages=HI, **fields))[0]


@pytest.mark.parametrize("marker", [0, 1, 2, 3])
def test_the_answer_ends_where_anybody_else_would_speak(everything: Any, marker: int) -> None:
    asked = {"model": "talk", "messages": HI, "logit_bias": {str(marker): 100}, "max_tokens": 9}
    made = everything.made(PATH, **asked)
    assert made["choices"][0]["finish_reason"] == "stop"
    assert made["usage"]["completion_tokens"] == 1  # an answer is never empty


@pytest.mark.parametrize(
    "fields",
    [
        {"stop": ["a", "e"], "temperature": 1.5},
        {"frequency_penalty": 1, "presence_penalty": 0.5, "logit_bias": {"25": 4}},
        {"top_p": 0.4, "top_k": 9, "min_p": 0.01, "repetition_penalty": 1.4, "user": "me"},
        {"temperature": 0},
    ],
    ids="+".join,
)
def test_the_fields_of_completions_do_the_same_here(everything: Any, fields: dict[str, Any]) -> None:
    fields = {**fields, "seed": 8, "max_tokens": 60}
    text = f"{DOCUMENT}{ROLES['user']}hi{ROLES['assistant']}"
    [expected] = completed(everything, text, **fields)["choices"]
    [choice] = everything.made(PATH, model="talk", messages=HI, **fields)["choices"]
    assert choice["message"]["content"] == expected["text"]
    assert choice["finish_reason"] == expected["finish_reason"]


@pytest.mark.parametrize("top", [None, 0, 3, 20])
def test_log_probabilities_are_those_of_a_completion(everything: Any, top: int | None) -> None:
    asked: dict[str, Any] = {"seed": 4, "max_tokens": 25}
    text = f"{DOCUMENT}{ROLES['user']}hi{ROLES['assistant']}"
    [expected] = completed(everything, text, **asked, logprobs=min(top or 0, 5))["choices"]
    told = everything.made(PATH, model="talk", messages=HI, **asked, logprobs=True, top_logprobs=top)
    [choice] = told["choices"]
    assert set(choice["logprobs"]) == {"content", "refusal"}
    assert choice["logprobs"]["refusal"] is None
    rows = choice["logprobs"]["content"]
    assert [row["token"] for row in rows] == expected["logprobs"]["tokens"]
    assert [row["logprob"] for row in rows] == expected["logprobs"]["token_logprobs"]
    for row in rows:
        assert set(row) == {"token", "logprob", "bytes", "top_logprobs"}
        assert len(row["top_logprobs"]) == (top or 0)
        likeliest = [one["logprob"] for one in row["top_logprobs"]]
        assert likeliest == sorted(likeliest, reverse=True)
        for one in (row, *row["top_logprobs"]):
            if one["token"].startswith(("half:", "<|")):
                assert one["bytes"] is None
            else:
                assert bytes(one["bytes"]).decode() == one["token"]
    if top == 3:
        for row, expects in zip(rows, expected["logprobs"]["top_logprobs"], strict=True):
            assert {one["token"] for one in row["top_logprobs"]} <= set(expects)


def test_top_log_probabilities_go_with_log_probabilities_only(everything: Any) -> None:
    asked = {"model": "talk", "messages": HI, "max_tokens": 2}
    for flag in ({}, {"logprobs": None}, {"logprobs": False}):
        assert everything.made(PATH, **asked, **flag, top_logprobs=0)["choices"][0]["logprobs"] is None
        answer = everything.ask(PATH, **asked, **flag, top_logprobs=2)
        assert error(answer) == (400, "invalid_value", "top_logprobs")


@pytest.mark.parametrize("logprobs", [False, True])
def test_a_stream_tells_who_speaks_and_then_what(everything: Any, logprobs: bool) -> None:
    asked = {"model": "talk", "messages": HI, "n": 3, "seed": 6, "max_tokens": 60, "logprobs": logprobs}
    whole = everything.made(PATH, **asked)
    told = events(everything.ask(PATH, **asked, stream=True))
    assert {event["object"] for event in told} == {"chat.completion.chunk"}
    assert len({event["id"] for event in told}) == 1
    assert all("usage" not in event for event in told)
    assert all("role" not in event["choices"][0]["delta"] or not event["choices"][0]["delta"]["content"]
               for event in told)  # fmt: skip
    found = choices(told)
    for choice in whole["choices"]:
        streamed = found[choice["index"]]
        assert streamed.role == "assistant"
        assert streamed.text == choice["message"]["content"]
        assert streamed.ends == [choice["finish_reason"]]
        rows = streamed.logprobs["content"] if streamed.logprobs else None
        assert rows == (choice["logprobs"]["content"] if logprobs else None)


def test_the_counts_come_last_in_a_stream(everything: Any) -> None:
    asked = {"model": "talk", "messages": HI, "seed": 6, "max_tokens": 20}
    whole = everything.made(PATH, **asked)
    told = events(everything.ask(PATH, **asked, stream=True, stream_options={"include_usage": True}))
    assert all(event["usage"] is None for event in told[:-1])
    assert told[-1]["choices"] == []
    assert told[-1]["usage"] == whole["usage"]


def test_max_completion_tokens_is_the_newer_name_and_wins(everything: Any) -> None:
    asked = {"model": "talk", "messages": HI, "seed": 2, "logit_bias": {str(end): -100 for end in range(4)}}
    for fields, made in (
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 5, "max_tokens": 9}, 5),
        ({"max_completion_tokens": None, "max_tokens": 9}, 9),
        ({"max_completion_tokens": 0}, 0),
        ({}, 1024),
    ):
        answer = everything.made(PATH, **asked, **fields)
        assert answer["usage"]["completion_tokens"] == made
        assert answer["choices"][0]["finish_reason"] == "length"
    for name in ("max_completion_tokens", "max_tokens"):
        assert error(everything.ask(PATH, **asked, **{name: 100_001})) == (400, "invalid_value", name)


def test_an_answers_own_message_may_be_sent_back(everything: Any) -> None:
    first = everything.made(PATH, model="talk", messages=HI, seed=1, max_tokens=5)
    own = first["choices"][0]["message"]
    more = {"audio": None, "function_call": None, "tool_calls": [], "annotations": [], "name": "bird"}
    for message in (own, {**own, **more}):
        answer = everything.ask(PATH, model="talk", messages=[*HI, message, *HI], max_tokens=5)
        assert answer.status_code == 200, answer.text


def test_a_session_goes_on_from_the_turns_before(everything: Any) -> None:
    asked: dict[str, Any] = {"model": "talk", "temperature": 0, "max_tokens": 15, "logit_bias": WHOLE}
    [first] = words(everything.made(PATH, **asked, messages=HI, session="talk-on"))
    [second] = words(everything.made(PATH, **asked, messages=[said("user", "and?")], session="talk-on"))
    whole = [*HI, said("assistant", first), said("user", "and?")]
    assert words(everything.made(PATH, **asked, messages=HI)) == [first]
    assert words(everything.made(PATH, **asked, messages=whole)) == [second]


@pytest.mark.parametrize(("name", "code"), [("tiny", "not_a_chat_model"), ("shapes", "invalid_value")])
def test_a_model_without_turns_cannot_chat(everything: Any, name: str, code: str) -> None:
    answer = everything.ask(PATH, model=name, messages=HI)
    assert error(answer) == (400, code, "model")
    if name == "tiny":
        assert "/v1/completions" in answer.json()["error"]["message"]
    assert error(everything.ask(PATH, model="talks", messages=HI)) == (404, "model_not_found", "model")


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        "hi",
        {"role": "user", "content": "hi"},
        [None],
        ["hi"],
        [{}],
        [{"role": "user"}],
        [{"content": "hi"}],
        [said("wizard", "hi")],
        [said("tool", "hi")],
        [said("User", "hi")],
        [said("", "hi")],
        [said("user", None)],
        [said("user", 5)],
        [said("user", [])],
        [said("user", [{"type": "image_url", "image_url": {"url": "data:,"}}])],
        [said("user", [{"type": "text"}])],
        [said("user", [{"type": "text", "text": None}])],
        [said("user", ["hi"])],
        [{**said("user", "hi"), "weight": 1}],
        [{**said("assistant", "hi"), "tool_calls": [{"id": "x"}]}],
        [{**said("assistant", "hi"), "refusal": "no"}],
        [said("user", "hi"), said("wizard", "hi")],
    ],
    ids=range(24),
)
def test_wrong_messages_are_refused(everything: Any, messages: Any) -> None:
    status, _, param = error(everything.ask(PATH, model="talk", messages=messages))
    assert (status, param) == (400, "messages")


def test_messages_must_be_given(everything: Any) -> None:
    assert error(everything.ask(PATH, model="talk")) == (400, "invalid_value", "messages")
    answer = everything.ask(PATH, model="talk", prompt="hi")
    assert error(answer) == (400, "unknown_parameter", "prompt")


def test_messages_of_too_many_tokens_are_refused(everything: Any) -> None:
    answer = everything.ask(PATH, model="talk", messages=[said("user", "a" * 20_000)] * 2)
    assert error(answer) == (400, "context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("field", "nothing", "something"),
    [
        ("tools", [], [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "none", "required"),
        ("response_format", {"type": "text"}, {"type": "json_object"}),
        ("modalities", ["text"], ["text", "audio"]),
        ("store", False, True),
        ("service_tier", "auto", "priority"),
        ("metadata", {"a": "b"}, {"a": 1}),
        ("parallel_tool_calls", True, "yes"),
        ("safety_identifier", "me", 5),
        ("prompt_cache_key", "key", []),
    ],
)
def test_what_these_models_cannot_do_is_taken_where_it_asks_for_nothing(
    everything: Any, field: str, nothing: Any, something: Any
) -> None:
    asked = {"model": "talk", "messages": HI, "max_tokens": 2}
    for value in (None, nothing):
        assert everything.ask(PATH, **asked, **{field: value}).status_code == 200
    status, _, param = error(everything.ask(PATH, **asked, **{field: something}))
    assert (status, param) == (400, field)
