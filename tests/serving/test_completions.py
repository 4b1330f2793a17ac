"""OpenAI's official client against a real server: its answers are those that the model gives alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from bowerbird.kinds.loaded import Model


@pytest.fixture
def client(live: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


def alone(model: Model, **fields: Any) -> list[str]:
    """What the model gives with OpenAI's defaults."""
    return [sample.text for sample in model.generate(**{"temperature": 1.0, "length": 16, **fields})]


def test_models_are_listed_and_described(client: openai.OpenAI) -> None:
    assert [found.id for found in client.models.list()] == ["tiny", "poems@live"]
    found = client.models.retrieve("poems@live")
    assert (found.id, found.object, found.owned_by) == ("poems@live", "model", "bowerbird")
    assert abs(found.created - time.time()) < 600
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("poem@live")
    assert caught.value.code == "model_not_found"


def test_a_completion_has_openais_shape(client: openai.OpenAI, model: Model) -> None:
    found = client.completions.create(model="tiny", prompt="the sea", seed=7, max_tokens=40)
    assert found.object == "text_completion"
    assert found.id.startswith("cmpl-")
    assert found.model == "tiny"
    assert abs(found.created - time.time()) < 60
    [choice] = found.choices
    [sample] = model.generate(prompt="the sea", seed=7, length=40, temperature=1.0)
    assert (choice.index, choice.text, choice.logprobs) == (0, sample.text, None)
    assert choice.finish_reason == sample.finish_reason
    assert found.usage is not None
    assert found.usage.prompt_tokens == len(model.codec.encode("the sea"))
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens


def test_defaults_are_openais(client: openai.OpenAI, model: Model) -> None:
    found = client.completions.create(model="tiny", prompt="the ", seed=3)
    assert found.choices[0].text == alone(model, prompt="the ", seed=3)[0]
    assert found.usage is not None
    assert found.usage.completion_tokens <= 16


def test_usage_counts_the_prompt_once_and_every_token_made(client: openai.OpenAI, model: Model) -> None:
    found = client.completions.create(model="tiny", prompt="the sea", n=3, seed=1, max_tokens=9)
    assert found.usage is not None
    assert found.usage.prompt_tokens == 7
    made = sum(9 if choice.finish_reason == "length" else 0 for choice in found.choices)
    assert made <= found.usage.completion_tokens <= 27


def test_n_samples_are_those_of_the_seeds_that_follow(client: openai.OpenAI, model: Model) -> None:
    found = client.completions.create(model="tiny", prompt="the ", n=4, seed=10, max_tokens=30)
    assert [choice.text for choice in found.choices] == alone(model, prompt="the ", n=4, seed=10, length=30)
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]


def test_prompts_in_a_list_get_what_each_gets_alone(client: openai.OpenAI, model: Model) -> None:
    found = client.completions.create(model="tiny", prompt=["the ", "so"], n=2, seed=4, max_tokens=20)
    expected = [
        text for prompt in ("the ", "so") for text in alone(model, prompt=prompt, n=2, seed=4, length=20)
    ]
    assert [choice.text for choice in found.choices] == expected
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]


def test_token_prompts_are_read_as_they_are(client: openai.OpenAI, model: Model) -> None:
    one, two = (model.codec.encode(text).tolist() for text in ("the sea", "rain"))
    found = client.completions.create(model="tiny", prompt=one, seed=2, max_tokens=20, echo=True)
    assert found.choices[0].text == "the sea" + alone(model, prompt="the sea", seed=2, length=20)[0]
    both = client.completions.create(model="tiny", prompt=[one, two], seed=2, max_tokens=20)
    assert [choice.text for choice in both.choices] == [
        alone(model, prompt=prompt, seed=2, length=20)[0] for prompt in ("the sea", "rain")
    ]
    assert both.usage is not None
    assert both.usage.prompt_tokens == len(one) + len(two)


def test_a_missing_prompt_is_an_empty_one(live: Any, model: Model) -> None:
    answer = httpx.post(f"{live.url}/v1/completions", json={"model": "tiny", "seed": 1}).json()
    assert answer["choices"][0]["text"] == alone(model, seed=1)[0]


def test_a_stop_string_ends_the_text_and_is_not_given_out(client: openai.OpenAI, model: Model) -> None:
    [whole] = alone(model, prompt="the ", seed=5, length=60)
    stop = whole[10:12]
    for given in (stop, [stop, "never seen"]):
        found = client.completions.create(model="tiny", prompt="the ", seed=5, max_tokens=60, stop=given)
        assert found.choices[0].text == whole[: whole.index(stop)]
        assert found.choices[0].finish_reason == "stop"


def test_our_extras_are_what_they_are_for_the_model(client: openai.OpenAI, model: Model) -> None:
    extras = {"top_k": 3, "min_p": 0.05, "repetition_penalty": 1.3}
    found = client.completions.create(
        model="tiny", prompt="the ", seed=6, max_tokens=30, temperature=0.7, top_p=0.9, extra_body=extras
    )
    expected = model.generate(prompt="the ", seed=6, length=30, temperature=0.7, top_p=0.9, **extras)
    assert found.choices[0].text == expected[0].text


def test_temperature_0_and_top_p_0_take_the_likeliest(client: openai.OpenAI, model: Model) -> None:
    expected = alone(model, prompt="the ", length=30, temperature=0.0)
    for given in ({"temperature": 0}, {"top_p": 0}):
        found = client.completions.create(model="tiny", prompt="the ", max_tokens=30, **given)  # type: ignore[call-overload]
        assert [choice.text for choice in found.choices] == expected


def test_a_stream_is_the_plain_answer_in_pieces(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "prompt": ["the ", "so"], "n": 2, "seed": 8, "max_tokens": 40}
    plain = client.completions.create(**asked, echo=True)
    texts, ends, events = [""] * 4, [[] for _ in range(4)], 0  # type: ignore[var-annotated]
    for part in client.completions.create(**asked, echo=True, stream=True):
        events += 1
        assert part.usage is None
        for choice in part.choices:
            texts[choice.index] += choice.text
            if choice.finish_reason:
                ends[choice.index].append(choice.finish_reason)
    assert texts == [choice.text for choice in plain.choices]
    assert ends == [[choice.finish_reason] for choice in plain.choices]
    assert events > 1


def test_a_stream_ends_with_usage_if_asked_and_done(live: Any, client: openai.OpenAI) -> None:
    asked = {"model": "tiny", "prompt": "the ", "seed": 8, "max_tokens": 12}
    plain = client.completions.create(**asked)  # type: ignore[call-overload]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    with httpx.stream("POST", f"{live.url}/v1/completions", json=asked | options) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        body = answer.read().decode()
    lines = body.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert all(event["usage"] is None for event in events[:-1])
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == plain.usage.model_dump(exclude_none=True)
    assert len({event["id"] for event in events}) == 1


def test_thirty_two_streams_at_once_each_get_what_their_seed_gives_alone(
    client: openai.OpenAI, model: Model
) -> None:
    def streamed(seed: int) -> str:
        parts = client.completions.create(
            model="tiny", prompt=f"the {seed % 5}", seed=seed, max_tokens=50, stream=True
        )
        return "".join(choice.text for part in parts for choice in part.choices)

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(streamed, range(32)))
    assert found == [alone(model, prompt=f"the {seed % 5}", seed=seed, length=50)[0] for seed in range(32)]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slots(live: Any, stream: bool) -> None:
    asked = {"model": "tiny", "prompt": "the ", "n": 32, "max_tokens": 100_000, "stream": stream}
    try:
        with httpx.stream("POST", f"{live.url}/v1/completions", json=asked, timeout=0.5) as answer:
            next(answer.iter_bytes())
    except httpx.ReadTimeout:
        assert not stream
    deadline = time.monotonic() + 5
    while live.engine.load("tiny") != (0, 0):
        assert time.monotonic() < deadline, "the slots are still taken"
        time.sleep(0.01)


def test_a_fault_under_way_is_told_in_the_stream(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from bowerbird.kinds.reading import TextReader

    def fail(self: TextReader, *arguments: Any) -> Any:
        raise ValueError("secret words")

    monkeypatch.setattr(TextReader, "push", fail)
    asked = {"model": "tiny", "prompt": "the ", "stream": True}
    body = httpx.post(f"{live.url}/v1/completions", json=asked).text
    error, done, _ = body.split("\n\n")
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "internal_error"
    assert done == "data: [DONE]"
    plain = httpx.post(f"{live.url}/v1/completions", json=asked | {"stream": False})
    assert plain.status_code == 500
    assert plain.json()["error"]["type"] == "server_error"
    assert "secret" not in body + plain.text


def test_health_readiness_and_the_page(live: Any) -> None:
    assert httpx.get(f"{live.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{live.url}/ready").json() == {"status": "ready", "models": ["tiny", "poems@live"]}
    page = httpx.get(live.url)
    assert page.headers["content-type"].startswith("text/html")
    assert '<option data-kind="text">poems@live</option>' in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
