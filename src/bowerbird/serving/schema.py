"""`/openapi.json`: every path with its body, answers and errors, as they are for the models served at the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from bowerbird.serving.asked import Form
from bowerbird.serving.forms import Error
from bowerbird.serving.served import Served

JSON, EVENTS = "application/json", "text/event-stream"
_REF = "#/components/schemas/{model}"
_WORDS = {
    200: "The answer",
    400: "A field is wrong, unknown or not supported",
    401: "No key, or none that lets in",
    403: "A web page of another site, or a foreign host name",
    404: "There is no such thing here",
    408: "The body did not arrive in time",
    409: "Something else has been done with this meanwhile",
    413: "The body is larger than is read",
    429: "Too often, or too much at once",
    500: "A fault of the server's",
    503: "Not at the moment",
    504: "It was not done in time",
    507: "There is no room on the server's disk",
}
_RETRY: Form = {
    "Retry-After": {"description": "Seconds after which to ask again", "schema": {"type": "string"}}
}
_ALWAYS = (403, 429, 500, 503)
OF_BODIES = (400, 408, 413)


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    name: str
    """What generated clients call it."""
    summary: str
    answer: type[BaseModel] | str
    """The form of what is answered, or its media type where it is no JSON of a form."""
    body: type[BaseModel] | None = None
    narrowed: Callable[[Form, Served], Form] = lambda form, served: form
    """From the form of the body to what these models and limits take."""
    streams: bool = False
    """It may be answered with events, too."""
    errors: tuple[int, ...] = ()
    """Beside those that any may answer."""
    parameters: Mapping[str, Form] = field(default_factory=dict)
    """Of the path."""
    open: bool = False
    """Nobody is asked for a key."""
    states: tuple[int, ...] = ()
    """Statuses beside 200 that tell the same as it."""


def document(operations: list[Operation], served: Served, version: str) -> Form:
    """The whole, as OpenAPI 3.1."""
    schemas: dict[str, Form] = {}
    paths: dict[str, Form] = {}
    for operation in operations:
        told = _operation(operation, served, schemas)
        paths.setdefault(operation.path, {})[operation.method] = told
    components: Form = {"schemas": dict(sorted(schemas.items()))}
    if served.keys is not None:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    about = "OpenAI's API for models of your own; sessions, melodies and feedback beside it."
    return {
        "openapi": "3.1.0",
        "info": {"title": "bowerbird", "version": version, "description": about},
        "paths": paths,
        "components": components,
    }


def _operation(operation: Operation, served: Served, schemas: dict[str, Form]) -> Form:
    told: Form = {"operationId": operation.name, "summary": operation.summary}
    if operation.parameters:
        told["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": form}
            for name, form in operation.parameters.items()
        ]
    errors = {*operation.errors, *_ALWAYS}
    if operation.body is not None:
        form = _form(operation.body, schemas, "validation")
        name = operation.body.__name__
        schemas[name] = operation.narrowed(form, served)
        errors |= {*OF_BODIES}
        told["requestBody"] = {"required": True, "content": {JSON: {"schema": _ref(name)}}}
    if served.keys is not None and not operation.open:
        told["security"] = [{"key": []}]
        errors.add(401)
    responses = {
        status: _response(status, _content(operation, schemas)) for status in (200, *operation.states)
    }
    schemas.setdefault(Error.__name__, _form(Error, schemas, "serialization"))
    for status in sorted(errors - set(responses)):
        responses[status] = _response(status, {JSON: {"schema": _ref(Error.__name__)}})
    told["responses"] = {str(status): response for status, response in responses.items()}
    return told


def _content(operation: Operation, schemas: dict[str, Form]) -> Form:
    answer = operation.answer
    if isinstance(answer, str):
        return {answer: {"schema": {"type": "object"} if answer == JSON else {"type": "string"}}}
    schemas[answer.__name__] = _form(answer, schemas, "serialization")
    content: Form = {JSON: {"schema": _ref(answer.__name__)}}
    if operation.streams:
        content[EVENTS] = {}  # OpenAPI 3.1 has no form for events; checkers read one as that of each
    return content


def _response(status: int, content: Form) -> Form:
    response: Form = {"description": _WORDS[status], "content": content}
    return {**response, "headers": _RETRY} if status == 429 else response


def _ref(name: str) -> Form:
    return {"$ref": _REF.format(model=name)}


def _form(form: type[BaseModel], schemas: dict[str, Form], mode: Any) -> Form:
    """A form's schema; those of the forms in it are put among the others."""
    told = form.model_json_schema(ref_template=_REF, mode=mode)
    for name, inner in told.pop("$defs", {}).items():
        schemas.setdefault(name, inner)
    return told
