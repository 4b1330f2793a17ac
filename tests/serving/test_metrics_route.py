"""`/metrics` of a server that has answered: each request is in it, by path, status, model and error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.serving.paced import until
from tests.serving.scraped import Scraped, scraped
from tests.untrained_bundles import text_model

from bowerbird import lifecycle
from bowerbird.kinds.loaded import Model
from bowerbird.serving.app import create_app
from bowerbird.serving.metrics import CONTENT_TYPE, Metrics

PATH = "/v1/completions"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def client(model: Model, metrics: Metrics) -> Iterator[TestClient]:
    with TestClient(create_app({"tiny": model}, observer=metrics), raise_server_exceptions=False) as client:
        yield client


def read(client: TestClient) -> Scraped:
    return scraped(client.get("/metrics").text)


def ask(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post(PATH, json={"model": "tiny", "prompt": "the sea", "max_tokens": 9, **fields})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_what_was_made_is_counted(client: TestClient) -> None:
    usage = [ask(client, seed=seed, n=2)["usage"] for seed in (1, 2, 3)]
    made = sum(each["completion_tokens"] for each in usage)
    # The engine's observer is told after the askers.
    until(lambda: read(client).total("samples_total", model="tiny") == 6)
    found = read(client)
    assert found.value("requests_total", model="tiny", path=PATH, status="200") == 3
    assert found.value("request_duration_seconds_count", path=PATH) == 3
    assert found.value("tokens_total", model="tiny", direction="prompt") == 3 * len("the sea")
    assert found.value("tokens_total", model="tiny", direction="completion") >= made > 0
    assert found.value("time_in_queue_seconds_count", model="tiny") == 6
    assert found.value("time_to_first_token_seconds_count", model="tiny") <= 6
    reasons = {
        reason: found.value("samples_total", model="tiny", reason=reason) for reason in ("stop", "length")
    }
    assert sum(reasons.values()) == 6
    assert found.value("slots_used", model="tiny") == found.value("queue_length", model="tiny") == 0
    assert found.total("errors_total") == 0


def test_a_stream_is_counted_as_what_it_is(client: TestClient) -> None:
    asked = {"model": "tiny", "prompt": "so", "max_tokens": 30, "stream": True}
    with client.stream("POST", PATH, json=asked) as answer:
        assert answer.read().endswith(b"data: [DONE]\n\n")
    until(lambda: read(client).total("samples_total", model="tiny") == 1)
    found = read(client)
    assert found.value("requests_total", model="tiny", path=PATH, status="200") == 1
    assert found.value("tokens_total", model="tiny", direction="prompt") == 2
    assert found.value("tokens_total", model="tiny", direction="completion") > 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "label"),
    [
        ("POST", PATH, {"model": "tiny", "max_token": 3}, 400, "unknown_parameter", PATH),
        ("POST", PATH, {"model": "tiny", "temperature": 9}, 400, "invalid_value", PATH),
        ("POST", PATH, "{", 400, "invalid_json", PATH),
        ("POST", PATH, {"model": "nothing"}, 404, "model_not_found", PATH),
        ("POST", PATH, {"model": "tiny", "prompt": "a" * (2 << 20)}, 413, "body_too_large", PATH),
        ("GET", "/v1/models/nothing", None, 404, "model_not_found", "/v1/models/{model_id}"),
        ("GET", "/v1/nothing", None, 404, "not_found", "other"),
    ],
)
def test_each_class_of_error_is_counted(
    client: TestClient, method: str, path: str, body: Any, status: int, code: str, label: str
) -> None:
    content = body if isinstance(body, str) else None if body is None else json.dumps(body)
    assert client.request(method, path, content=content).status_code == status
    found = read(client)
    assert found.value("errors_total", code=code) == found.total("errors_total") == 1
    assert found.total("requests_total", path=label, status=str(status)) == 1


def test_a_fault_of_ours_is_counted_as_one(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError

    app: Any = client.app
    monkeypatch.setattr(app.state.engine, "submit_jobs", fail)
    assert client.post(PATH, json={"model": "tiny"}).status_code == 500
    found = read(client)
    assert found.value("errors_total", code="internal_error") == 1
    assert found.total("requests_total", path=PATH, status="500") == 1


def test_the_format_is_said(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)


def test_the_scrapes_themselves_are_counted(client: TestClient) -> None:
    read(client)
    assert read(client).value("requests_total", model="", path="/metrics", status="200") == 1


def test_a_server_without_metrics_says_so(model: Model) -> None:
    with TestClient(create_app({"tiny": model})) as client:
        answer = client.get("/metrics")
    assert (answer.status_code, "keeps no metrics" in answer.json()["error"]["message"]) == (404, True)


def test_a_swap_is_seen_in_model_info(tmp_path: Path, metrics: Metrics) -> None:
    one, two = (
        lifecycle.load(text_model(tmp_path / name, width=width)) for name, width in (("a", 12), ("b", 20))
    )
    metrics.versions |= {one.digest: "1", two.digest: "2"}
    with TestClient(create_app({"poems@live": one}, observer=metrics)) as client:
        named = {"model": "poems@live", "digest": one.digest, "version": "1"}
        assert read(client).value("model_info", **named) == 1
        app: Any = client.app
        app.state.engine.replace("poems@live", two)
        found = read(client)
        assert found.value("model_info", **named) == 0
        assert found.value("model_info", model="poems@live", digest=two.digest, version="2") == 1
