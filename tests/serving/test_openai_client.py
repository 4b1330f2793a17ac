"""OpenAI's official client, as it comes, reaches every path that is in its API."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from PIL import Image

MESSAGES: Any = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def client(everything: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{everything.url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


def test_models(client: openai.OpenAI, everything: Any) -> None:
    listed = list(client.models.list())
    assert [found.id for found in listed] == ["tiny", "talk", "tunes", "shapes"]
    assert client.models.retrieve("talk") == listed[1]
    extra = listed[1].model_extra
    assert extra is not None
    talk = everything.models["talk"]
    assert extra["kind"] == "text"
    assert extra["structure"] == "chat"
    assert extra["digest"] == talk.digest
    assert extra["parameters"] == talk.parameters
    assert (extra["vocab_size"], extra["codec"]) == (talk.codec.vocab_size, "characters")


def test_a_completion_with_every_field(client: openai.OpenAI) -> None:
    found = client.completions.create(
        model="tiny",
        prompt="the sea",
        best_of=3,
        echo=True,
        frequency_penalty=0.5,
        logit_bias={"30": 1},
        logprobs=2,
        max_tokens=10,
        n=2,
        presence_penalty=-0.5,
        seed=7,
        stop=["never seen"],
        suffix=None,
        temperature=0.9,
        top_p=0.95,
        user="me",
        extra_body={"top_k": 20, "min_p": 0.01, "repetition_penalty": 1.1},
    )
    assert [choice.index for choice in found.choices] == [0, 1]
    for choice in found.choices:
        assert choice.text.startswith("the sea")
        assert choice.logprobs is not None
        assert choice.logprobs.tokens is not None
        assert choice.logprobs.token_logprobs is not None
        assert choice.logprobs.top_logprobs is not None
        assert choice.logprobs.text_offset is not None
        assert "".join(choice.logprobs.tokens[:7]) == "the sea"
        sizes = {len(getattr(choice.logprobs, name)) for name in type(choice.logprobs).model_fields}
        assert sizes == {len(choice.logprobs.tokens)}
    assert found.system_fingerprint is not None
    assert found.usage is not None


def test_a_streamed_completion(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "prompt": "the ", "seed": 3, "max_tokens": 30, "logprobs": 1}
    whole = client.completions.create(**asked)
    parts = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(choice.text for part in parts for choice in part.choices) == whole.choices[0].text
    assert parts[-1].usage == whole.usage
    rows = [choice.logprobs for part in parts for choice in part.choices if choice.logprobs]
    told = [token for row in rows for token in row.tokens or []]
    assert whole.choices[0].logprobs is not None
    assert told == whole.choices[0].logprobs.tokens


def test_a_chat(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model="talk",
        messages=MESSAGES,
        frequency_penalty=0.1,
        logit_bias={"30": 1},
        logprobs=True,
        top_logprobs=2,
        max_completion_tokens=20,
        n=2,
        presence_penalty=0.1,
        seed=4,
        stop=["never seen"],
        temperature=1.1,
        top_p=0.9,
        user="me",
        store=False,
        metadata={"a": "b"},
        response_format={"type": "text"},
    )
    for choice in found.choices:
        assert choice.message.role == "assistant"
        assert choice.logprobs is not None
        assert choice.logprobs.content
        text = "".join(row.token for row in choice.logprobs.content if row.bytes is not None)
        assert choice.message.content is not None
        assert set(text) <= set(choice.message.content)
        assert all(len(row.top_logprobs) == 2 for row in choice.logprobs.content)
    again = client.chat.completions.create(
        model="talk", messages=[*MESSAGES, found.choices[0].message, MESSAGES[1]], max_tokens=3
    )
    assert again.choices[0].message.content is not None


def test_a_streamed_chat(client: openai.OpenAI) -> None:
    asked: Any = {"model": "talk", "messages": MESSAGES, "seed": 3, "max_tokens": 40, "logprobs": True}
    whole = client.chat.completions.create(**asked)
    parts = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    deltas = [choice.delta for part in parts for choice in part.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert parts[-1].usage == whole.usage


def test_the_clients_own_way_of_putting_a_stream_together(client: openai.OpenAI) -> None:
    asked: Any = {"model": "talk", "messages": MESSAGES, "seed": 3, "max_tokens": 40, "logprobs": True}
    whole = client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        found = stream.get_final_completion()
    assert text == whole.choices[0].message.content
    assert found.choices[0].message.content == text
    assert found.choices[0].finish_reason == whole.choices[0].finish_reason
    assert found.choices[0].logprobs is not None
    assert whole.choices[0].logprobs is not None
    assert found.choices[0].logprobs.content == whole.choices[0].logprobs.content


def test_pictures(client: openai.OpenAI) -> None:
    found = client.images.generate(
        model="shapes",
        prompt="square",
        n=2,
        response_format="b64_json",
        size="16x16",  # type: ignore[call-overload]
        user="me",
        extra_body={"seed": 3},
    )
    for picture in found.data:
        image = Image.open(io.BytesIO(base64.b64decode(picture.b64_json)))
        assert image.size == (16, 16)


def test_from_an_event_loop(everything: Any) -> None:
    async def ask() -> tuple[str, str]:
        url = f"{everything.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            asked: Any = {"model": "tiny", "prompt": "the ", "seed": 5, "max_tokens": 30}
            whole, parts = await asyncio.gather(
                client.completions.create(**asked), client.completions.create(**asked, stream=True)
            )
            text = ""
            async for part in parts:
                text += part.choices[0].text
            return whole.choices[0].text, text

    whole, text = asyncio.run(ask())
    assert whole == text


def test_what_is_not_openais_is_reached_by_its_path(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt="the ", seed=5, extra_body={"session": "client"})
    taken: Any = client.post("/feedback", body={"id": answer.id, "rating": "up"}, cast_to=object)
    assert taken["object"] == "feedback"
    session: Any = client.get("/sessions/client", cast_to=object)
    assert session["model"] == "tiny"
    tunes: Any = client.post("/melodies/generations", body={"model": "tunes", "seed": 1}, cast_to=object)
    assert tunes["data"][0]["abc"]


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="talks", messages=MESSAGES)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as wrong:
        client.completions.create(model="tiny", prompt="the ", temperature=3)
    assert (wrong.value.code, wrong.value.param) == ("invalid_value", "temperature")
    assert wrong.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as streamed:
        client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    assert streamed.value.code == "not_a_chat_model"
    assert streamed.value.request_id is not None
