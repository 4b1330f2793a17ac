"""`/openapi.json`: a sound document that tells of every path, and of bodies, answers and errors as they are."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.openapi.models import OpenAPI
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.json_schema import Schemas

from bowerbird.kinds.loaded import Model
from bowerbird.serving.app import create_app
from bowerbird.serving.asked import SampledBody
from bowerbird.serving.keys import KeyRing
from bowerbird.serving.limits import Limits
from bowerbird.serving.sessions import SessionStore

COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"
IMAGES, MELODIES = "/v1/images/generations", "/v1/melodies/generations"
SESSION = "/v1/sessions/{session_id}"
GOOD: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"model": "tiny", "max_tokens": 2},
    CHATS: {"model": "talk", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2},
    IMAGES: {"model": "shapes"},
    MELODIES: {"model": "tunes", "max_tokens": 16},
    "/v1/feedback": {"model": "tiny", "text": "x", "rating": 1},
}
"""A body for each path, to be changed."""
ODD: list[Any] = [
    None, True, False, 0, 1, 2, -1, -0.0, 1.0, 0.5, 1.5, -2.5, 3, 20, 100, 129, 257, 1024, 100_001, 1 << 63,
    10**30, 1e300, "", "x", "0", "1", "up", "auto", "text", "16x16", "png", "disc", "4/4", "x" * 1001, "\x00",
    "a b", "s-1",
    [], [0], [1.0], [0.5], [-1], [99_999], ["x"], ["x"] * 5, ["text"], [[1]], [[]], [None], [1, "x"], [{}], {},
    {"0": 1}, {"0": 101}, {"00": 1}, {"x": 1}, {"x": "y"}, {"46": -1}, {"99999": 1}, {"type": "text"},
    {"include_usage": True}, {"include_usage": 1}, [{"role": "user", "content": "x"}],
    [{"role": "wizard", "content": "x"}], [{"role": "user", "content": []}],
    [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
]  # fmt: skip
"""Values for fields, right for some."""
LONG = (3, 20, 100, 129, 257)
"""Numbers of bars that want more tokens than a good body allows."""


@pytest.fixture(scope="module")
def schemas(everything: Any) -> Schemas:
    return Schemas(everything.document())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def walked(part: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a document, with what stands there."""
    if isinstance(part, dict):
        for name, inner in part.items():
            yield name, inner
            yield from walked(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from walked(inner)


def check_sound(document: dict[str, Any]) -> None:
    """By FastAPI's own forms of OpenAPI 3.1, and what those do not say."""
    OpenAPI.model_validate(document)
    schemas = Schemas(document)
    assert document["openapi"].startswith("3.1.")
    assert set(document) == {"openapi", "info", "paths", "components"}
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for _, path, operation in operations(document):
        assert path.startswith("/")
        told = operation.get("parameters", [])
        assert re.findall(r"\{(\w+)\}", path) == [parameter["name"] for parameter in told]
        assert all(parameter["in"] == "path" and parameter["required"] for parameter in told)
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[2-5]\d\d", status)
            assert response["description"]
    used = {inner for name, inner in walked(document) if name == "$ref"}
    assert all(isinstance(schemas.at(reference), dict) for reference in used)
    unused = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]} - used
    assert not unused
    for form in document["components"]["schemas"].values():
        for value in ODD:
            schemas.faults(value, form)  # fails at a keyword that no JSON Schema has


def test_it_is_a_sound_document(everything: Any) -> None:
    check_sound(everything.document())


def test_every_path_is_told_of_and_no_other(everything: Any) -> None:
    routes = {
        (method.lower(), re.sub(r":\w+\}", "}", route.path))
        for route in everything.app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert {(method, path) for method, path, _ in operations(everything.document())} == routes


def test_other_methods_are_told_which_there_are(everything: Any) -> None:
    for path, methods in everything.document()["paths"].items():
        answer = everything.client.options(path.replace("{", "").replace("}", ""))
        assert answer.status_code == 405
        allowed = set(answer.headers["allow"].lower().split(", ")) - {"head"}
        assert allowed == set(methods)


@pytest.mark.parametrize("kinds", [("tiny",), ("talk",), ("shapes",), ("tunes",), ("tiny", "talk"), ()])
def test_it_is_sound_whatever_is_served(everything: Any, kinds: tuple[str, ...], tmp_path: Path) -> None:
    models = {kind: everything.models[kind] for kind in kinds}
    with TestClient(create_app(models, keys=KeyRing(tmp_path / "keys.json"))) as client:
        assert client.get("/openapi.json").status_code == 401
    with TestClient(create_app(models)) as client:
        document = client.get("/openapi.json").json()
    check_sound(document)
    assert "/v1/feedback" not in document["paths"]
    assert "/v1/sessions" not in document["paths"]
    assert "securitySchemes" not in document["components"]


def test_with_keys_it_says_where_one_is_needed(model: Model, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    _, secret = ring.new("phone")
    with TestClient(create_app({"tiny": model}, keys=ring)) as client:
        document = client.get("/openapi.json", headers={"Authorization": f"Bearer {secret}"}).json()
        check_sound(document)
        schemas = Schemas(document)
        for method, path, operation in operations(document):
            free = path in ("/health", "/ready")
            assert ("security" not in operation) == free
            assert ("401" not in operation["responses"]) == free
            if not free:
                described(schemas, path, client.request(method.upper(), path.replace("{model_id}", "tiny")))


def test_it_follows_the_models(model: Model, everything: Any) -> None:
    with TestClient(create_app({"tiny": model})) as client:
        app: Any = client.app

        def names() -> Any:
            document = client.get("/openapi.json").json()
            return document["components"]["schemas"]["CompletionBody"]

        assert names()["properties"]["model"]["enum"] == ["tiny"]
        app.state.engine.add("more", model)
        assert names()["properties"]["model"]["enum"] == ["tiny", "more"]
        app.state.engine.add("talk", everything.models["talk"])
        groups = [form["properties"]["model"]["enum"] for form in names()["anyOf"]]
        assert groups == [["tiny", "more"], ["talk"]]


def described(schemas: Schemas, path: str, answer: Any) -> None:
    """That an answer is as the document says: its status, its media type, its form."""
    operation = schemas.document["paths"][path][answer.request.method.lower()]
    assert str(answer.status_code) in operation["responses"], answer.text[:500]
    content = operation["responses"][str(answer.status_code)]["content"]
    media = answer.headers["content-type"].partition(";")[0]
    assert media in content
    value = answer.json() if media == "application/json" else answer.text
    assert schemas.faults(value, content[media].get("schema", True)) == []


def test_answers_are_as_it_says(everything: Any, schemas: Schemas) -> None:
    client, seen = everything.client, set()

    def check(method: str, path: str, status: int, body: Any = None, **places: str) -> Any:
        content = {} if body is None else {"json": body}
        answer = client.request(method, path.format(**places), **content)
        assert answer.status_code == status, answer.text[:1000]
        described(schemas, path, answer)
        if status == 200:
            seen.add((method.lower(), path))
        return answer

    one = {"session_id": "told"}
    check("GET", "/v1/models", 200)
    check("GET", "/v1/models/{model_id}", 200, model_id="tunes")
    check("GET", "/v1/models/{model_id}", 404, model_id="tune")
    for more in ({}, {"logprobs": 3, "echo": True, "n": 2}, {"max_tokens": 0}, {"stream": True}):
        check("POST", COMPLETIONS, 200, {**GOOD[COMPLETIONS], **more})
    for more in ({}, {"logprobs": True, "top_logprobs": 2}, {"stream": True}):
        check("POST", CHATS, 200, {**GOOD[CHATS], **more})
    check("POST", IMAGES, 200, {**GOOD[IMAGES], "n": 2})
    for wanted in (None, "abc", "b64_json"):
        check("POST", MELODIES, 200, {**GOOD[MELODIES], "response_format": wanted})
    named = check("POST", COMPLETIONS, 200, {**GOOD[COMPLETIONS], "session": "told"}).json()["id"]
    check("POST", "/v1/feedback", 200, {"id": named, "rating": "up"})
    check("POST", "/v1/feedback", 200, {"model": "talk", "text": "", "comment": "x"})
    check("POST", "/v1/feedback", 404, {"id": "nothing", "rating": "up"})
    for path, body in GOOD.items():
        check("POST", path, 404, {**body, "model": "nothing"})
        check("POST", path, 400, {**body, "nothing": 1})
        described(schemas, path, client.post(path, content=b"x" * (1 << 21)))
        described(schemas, path, client.post(path, json={}, headers={"Sec-Fetch-Site": "cross-site"}))
    check("GET", "/v1/sessions", 200)
    check("GET", SESSION, 200, **one)
    check("GET", SESSION, 404, session_id="nothing")
    check("POST", f"{SESSION}/points", 200, {"name": "here"}, **one)
    check("POST", f"{SESSION}/rewind", 200, {"to": "here"}, **one)
    check("POST", f"{SESSION}/rewind", 404, {"to": "there"}, **one)
    check("POST", f"{SESSION}/fork", 200, {"to": "forked"}, **one)
    check("POST", f"{SESSION}/fork", 409, {"to": "forked"}, **one)
    check("POST", f"{SESSION}/fork", 400, {"to": "../"}, **one)
    check("DELETE", f"{SESSION}/points/{{point}}", 200, point="here", **one)
    check("DELETE", f"{SESSION}/points/{{point}}", 404, point="here", **one)
    check("DELETE", SESSION, 200, **one)
    check("DELETE", SESSION, 200, session_id="forked")
    for path in ("/health", "/ready", "/metrics", "/", "/openapi.json"):
        check("GET", path, 200)
    assert seen == {(method, path) for method, path, _ in operations(schemas.document)}


def test_what_is_refused_for_want_of_room_is_as_it_says(model: Model, tmp_path: Path) -> None:
    (tmp_path / "feedback").write_text("no folder")
    limits = Limits(requests_per_minute=3)
    app = create_app({"tiny": model}, feedback=tmp_path / "feedback", slots=1, queue=0, limits=limits)
    with TestClient(app) as client:
        schemas = Schemas(client.get("/openapi.json").json())
        answer = client.post("/v1/feedback", json=GOOD["/v1/feedback"])
        assert answer.status_code == 507
        described(schemas, "/v1/feedback", answer)
        assert client.post(COMPLETIONS, json={**GOOD[COMPLETIONS], "n": 2}).status_code == 400
        for path in ("/v1/models", "/metrics", "/"):
            answer = client.get(path)
            assert answer.status_code == 429
            described(schemas, path, answer)
        app.state.engine.close(0)
        answer = client.get("/ready")
        assert answer.status_code == 503
        described(schemas, "/ready", answer)


def form_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    found: dict[str, Any] = body["schema"]
    return found


def fields(schemas: Schemas, path: str) -> list[str]:
    """The fields of a body."""
    form = schemas.at(form_of(schemas.document, path)["$ref"])
    return list((form["anyOf"][0] if "anyOf" in form else form)["properties"])


def answered(app: Any, path: str, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    """The answers to many requests, without a network between."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [await client.post(path, json=body) for body in bodies]

    return asyncio.run(ask())


@pytest.mark.parametrize("path", sorted(GOOD))
def test_a_body_is_refused_where_its_form_says_so_and_nowhere_else(
    everything: Any, schemas: Schemas, path: str
) -> None:
    form, wrong = form_of(schemas.document, path), []
    bodies = [GOOD[path]]
    for name in fields(schemas, path):
        if path == CHATS and name in SampledBody.model_fields and name != "model":
            continue  # as in completions
        if (path, name) == (MELODIES, "prompt"):
            continue  # whether a text is a tune no JSON Schema can say
        values = [value for value in ODD if name != "bars" or value not in LONG]
        bodies += [{**GOOD[path], name: copy.deepcopy(value)} for value in values]
        bodies.append({other: value for other, value in GOOD[path].items() if other != name})
    if path in (COMPLETIONS, CHATS):
        own = f"of-{GOOD[path]['model']}"
        several = ("n", "best_of") if path == COMPLETIONS else ("n",)
        bodies += [{**GOOD[path], "session": own, name: value} for name in several for value in ODD]
        bodies += [{**GOOD[path], "stream": True, "stream_options": value} for value in ODD]
    if path == MELODIES:
        keys = "G/Em/F#m/Bb/Ddorian/cMIN/B\u266dmaj/ E mixolydian /Gbminorish/C#/CM/M/H/G##/Am7/C foo/mi"
        bodies += [{**GOOD[path], "key": key} for key in keys.split("/")]
    if path == CHATS:
        bodies += [{**GOOD[path], "logprobs": True, "top_logprobs": value} for value in ODD]
    if path == COMPLETIONS:
        bodies += [{**GOOD[path], "session": own, "prompt": value} for value in ODD]
        bodies += [{**GOOD[path], "prompt": ["x"] * 8, "n": value} for value in (1, 2, 100)]
    for body, answer in zip(bodies, answered(everything.app, path, bodies), strict=True):
        fits = schemas.allow(body, form)
        status = answer.status_code
        # An answer that was never given, and a session of another model, are as they may be.
        known = status == 200 or (status == 404 and body.get("id") is not None) or status == 409
        assert status in (200, 400, 404, 409), answer.text[:1000]
        if fits != known:
            wrong.append((body, answer.text[:200], schemas.faults(body, form)))
    assert wrong == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("fork", {"to": "x"}),
        ("points", {"name": "x"}),
        ("rewind", {"to": "x"}),
    ],
)
def test_bodies_about_sessions_are_refused_by_their_form(model: Model, path: str, body: Any) -> None:
    [name] = body
    with TestClient(create_app({"tiny": model}, sessions=SessionStore(None))) as client:
        schemas = Schemas(client.get("/openapi.json").json())
        form = form_of(schemas.document, f"{SESSION}/{path}")
        assert client.post(COMPLETIONS, json={**GOOD[COMPLETIONS], "session": "told"}).status_code == 200
        for odd in [*ODD, "x" * 100, "x" * 101, "-x", "x\n"]:
            answer = client.post(f"/v1/sessions/told/{path}", json={name: odd})
            described(schemas, f"{SESSION}/{path}", answer)
            assert (answer.status_code == 400) != schemas.allow({name: odd}, form), odd
        assert client.post(f"/v1/sessions/told/{path}", json={}).status_code == 400


def test_the_checker_of_these_tests_knows_right_from_wrong() -> None:
    schemas = Schemas({"components": {"a": {"type": "integer", "minimum": 2}}})
    form = {
        "type": "object",
        "properties": {"a": {"$ref": "#/components/a"}, "b": {"enum": ["x", 1, None]}, "c": {"const": True}},
        "required": ["a"],
        "additionalProperties": {"anyOf": [{"type": "array", "items": {"type": "string", "pattern": "^x$"}}]},
        "if": {"required": ["b"]},
        "then": {"maxProperties": 2},
        "not": {"required": ["d"]},
    }
    for right in ({"a": 2}, {"a": 3.0, "b": None}, {"a": 2, "c": True, "e": ["x"]}):
        assert schemas.allow(right, form)
    for wrong in (
        [],
        {},
        {"a": 1},
        {"a": 2.5},
        {"a": True},
        {"a": 2, "b": True},
        {"a": 2, "c": 1},
        {"a": 2, "e": ["x\n"]},
        {"a": 2, "b": 1, "c": True},
        {"a": 2, "d": []},
    ):
        assert not schemas.allow(wrong, form)
    with pytest.raises(AssertionError, match="unheard"):
        schemas.allow(1, {"unheard": 1})


def test_answers_that_come_as_events_are_told_as_such(everything: Any, schemas: Schemas) -> None:
    for path in (COMPLETIONS, CHATS):
        content = schemas.document["paths"][path]["post"]["responses"]["200"]["content"]
        assert set(content) == {"application/json", "text/event-stream"}
        answer: httpx.Response = everything.ask(path, **GOOD[path], stream=True)
        described(schemas, path, answer)
