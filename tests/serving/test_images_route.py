"""`POST /v1/images/generations`: what a program gets, and what it is told when it asks for what is not there."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.pictures import SIDE, new_model, write_dataset

import bowerbird as bb
from bowerbird.serving.app import create_app

PATH = "/v1/images/generations"


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("drawer")
    return bb.load(new_model(write_dataset(folder / "dataset"), folder / "run"))


@pytest.fixture(scope="module")
def client(drawer: Any) -> Iterator[TestClient]:
    with TestClient(create_app({"shapes": drawer})) as client:
        yield client


def test_pictures_are_those_the_model_makes_alone(client: TestClient, drawer: Any) -> None:
    asked = {"model": "shapes", "prompt": "square", "n": 3, "size": f"{SIDE}x{SIDE}", "seed": 11,
             "response_format": "b64_json"}  # fmt: skip
    found = client.post(PATH, json=asked)
    assert found.status_code == 200, found.text
    told = found.json()
    assert set(told) == {"created", "data"}
    expected = drawer.generate(n=3, seed=11, label="square")
    for one, sample in zip(told["data"], expected, strict=True):
        picture = Image.open(io.BytesIO(base64.b64decode(one["b64_json"])))
        picture.load()
        assert np.array_equal(np.asarray(picture), sample.content)
        assert picture.text["bowerbird:label"] == "square"  # type: ignore[attr-defined]
        assert picture.text["bowerbird:model"] == drawer.digest  # type: ignore[attr-defined]
        assert one["seed"] == sample.seed


def test_all_but_the_model_can_be_left_out(client: TestClient) -> None:
    for body in ({}, {"prompt": ""}, {"prompt": None, "size": "auto", "user": "me"}):
        found = client.post(PATH, json={"model": "shapes", **body})
        assert found.status_code == 200, found.text
        assert len(found.json()["data"]) == 1


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"prompt": "a red fox"}, "prompt"),
        ({"prompt": "x" * 1001}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"size": "1024x1024"}, "size"),
        ({"size": "large"}, "size"),
        ({"response_format": "url"}, "response_format"),
        ({"output_format": "jpeg"}, "output_format"),
        ({"n": 0}, "n"),
        ({"n": 100_000}, "n"),
        ({"n": "two"}, "n"),
        ({"seed": -1}, "seed"),
        ({"truncation": 0}, "truncation"),
        ({"style": "vivid"}, "style"),
    ],
)
def test_what_cannot_be_made_is_refused_by_its_field(
    client: TestClient, wrong: dict[str, Any], param: str
) -> None:
    import json

    body = json.dumps({"model": "shapes", **wrong})
    found = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert found.status_code == 400, found.text
    assert found.json()["error"]["param"] == param


def test_a_wrong_class_is_answered_with_the_right_ones(client: TestClient) -> None:
    message = client.post(PATH, json={"model": "shapes", "prompt": "sqare"}).json()["error"]["message"]
    assert "did you mean `square`?" in message
    assert "disc" in message


def test_each_path_makes_its_own_kind_only(client: TestClient) -> None:
    for path, body in (("/v1/completions", {"prompt": "x"}), ("/v1/melodies/generations", {})):
        found = client.post(path, json={"model": "shapes", **body})
        assert found.status_code == 400
        assert found.json()["error"]["param"] == "model"
    assert client.post(PATH, json={"model": "nothing"}).status_code == 404
    assert 'data-kind="image"' in client.get("/").text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (PATH, "`poems` makes text, no pictures"),
        ("/v1/melodies/generations", "`poems` makes text, no melodies"),
    ],
)
def test_a_text_model_makes_nothing_else(tiny_run: Path, path: str, said: str) -> None:
    with TestClient(create_app({"poems": bb.load(tiny_run)})) as client:
        found = client.post(path, json={"model": "poems", "prompt": "x"})
        assert found.status_code == 400
        assert found.json()["error"]["message"] == said
        assert found.json()["error"]["param"] == "model"
