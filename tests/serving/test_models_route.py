"""What is served: `/v1/models`, each model alone, and the page that lists them."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.serving.answers import error

from bowerbird.kinds.loaded import Model
from bowerbird.serving.app import create_app


def test_every_model_is_described(everything: Any) -> None:
    listed = everything.client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [found["id"] for found in listed["data"]] == list(everything.models)
    for found in listed["data"]:
        model = everything.models[found["id"]]
        assert abs(found.pop("created") - time.time()) < 3600
        assert found == {
            "id": found["id"],
            "object": "model",
            "owned_by": "bowerbird",
            "kind": model.kind.name,
            "structure": model.structure,
            "digest": model.digest,
            "parameters": model.parameters,
            "vocab_size": model.codec.vocab_size,
            "codec": model.codec.name,
            "events": "off",
            "challenger": None,
        }
    assert [found["kind"] for found in listed["data"]] == ["text", "text", "melody", "image"]
    assert [found["structure"] for found in listed["data"]] == ["plain", "chat", "plain", "labelled"]


def test_a_model_alone_is_as_in_the_list(everything: Any) -> None:
    for found in everything.client.get("/v1/models").json()["data"]:
        assert everything.client.get(f"/v1/models/{found['id']}").json() == found


@pytest.mark.parametrize("name", ["tinny", "", "tiny/", "TINY", "tiny%00", "%2e%2e%2ftiny", "a" * 3000])
def test_others_are_not_here(everything: Any, name: str) -> None:
    answer = everything.client.get(f"/v1/models/{name}")
    assert error(answer) == (404, "model_not_found", "model")
    assert len(answer.text) < 500


NAMES = ["poems@live", "a/b", "\u00e4 b", "100%", "a?b#c", "<script>alert(1)</script>"]


@pytest.mark.parametrize("name", NAMES)
def test_a_models_name_may_be_any(model: Model, name: str) -> None:
    with TestClient(create_app({name: model})) as client:
        [found] = client.get("/v1/models").json()["data"]
        assert found["id"] == name
        quoted = re.sub(r"[^\w@/]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), name)
        assert client.get(f"/v1/models/{quoted}").json() == found
        answer = client.post("/v1/completions", json={"model": name, "max_tokens": 2})
        assert answer.json()["model"] == name
        assert "<script>alert" not in client.get("/").text


def test_the_page_asks_nobody_else(everything: Any) -> None:
    page = everything.client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"https?://", page.text)
    options = re.findall(r'<option data-kind="(\w+)">([^<]*)</option>', page.text)
    assert options == [("text", "tiny"), ("text", "talk"), ("melody", "tunes"), ("image", "shapes")]


def test_the_page_asks_what_is_answered(everything: Any) -> None:
    """The paths and fields in its script."""
    page = everything.client.get("/").text
    for path, model in re.findall(r'ask\("(/v1/[\w/]+)"', page) and (
        ("/v1/completions", "tiny"),
        ("/v1/melodies/generations", "tunes"),
        ("/v1/images/generations", "shapes"),
    ):
        assert f'ask("{path}"' in page
        body: dict[str, Any] = {"model": model, "prompt": "", "seed": 1}
        if model != "shapes":
            body |= {"temperature": 0.8, "max_tokens": 30}
        if model == "tiny":
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        assert everything.ask(path, **body).status_code == 200
