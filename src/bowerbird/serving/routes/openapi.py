"""`GET /openapi.json`, and the list of all paths that it tells of."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bowerbird import __version__
from bowerbird.serving import forms
from bowerbird.serving.asked import Form
from bowerbird.serving.bodies import json_bytes
from bowerbird.serving.chat import ChatBody
from bowerbird.serving.completions import CompletionBody
from bowerbird.serving.feedback import FeedbackBody
from bowerbird.serving.images import ImageBody
from bowerbird.serving.melodies import MelodyBody
from bowerbird.serving.narrowing import (
    chat_form,
    completion_form,
    feedback_form,
    image_form,
    melody_form,
)
from bowerbird.serving.routes.sessions import ForkBody, PointBody, RewindBody
from bowerbird.serving.schema import JSON, Operation, document
from bowerbird.serving.served import Served
from bowerbird.serving.session_record import NAME_PATTERN

_NAME: Form = {"type": "string", "pattern": NAME_PATTERN}
_SESSION = {"session_id": _NAME}
_POINT = {**_SESSION, "point": _NAME}

MODELS = [
    Operation("get", "/v1/models", "list_models", "What is served here", forms.ModelList),
    Operation(
        "get",
        "/v1/models/{model_id}",
        "get_model",
        "One model",
        forms.ModelInfo,
        errors=(404,),
        parameters={"model_id": {"type": "string", "minLength": 1}},
    ),
]
MAKING = [
    Operation(
        "post",
        "/v1/completions",
        "create_completion",
        "Go on from a text",
        forms.Completion,
        CompletionBody,
        completion_form,
        streams=True,
        errors=(404, 409, 504, 507),
    ),
    Operation(
        "post",
        "/v1/chat/completions",
        "create_chat_completion",
        "Answer in a chat",
        forms.ChatCompletion,
        ChatBody,
        chat_form,
        streams=True,
        errors=(404, 409, 504, 507),
    ),
    Operation(
        "post",
        "/v1/images/generations",
        "create_image",
        "Make pictures",
        forms.Pictures,
        ImageBody,
        image_form,
        errors=(404, 504),
    ),
    Operation(
        "post",
        "/v1/melodies/generations",
        "create_melody",
        "Make tunes",
        forms.Tunes,
        MelodyBody,
        melody_form,
        errors=(404, 504),
    ),
]
_ASKED = {
    "create_completion": "text",
    "create_chat_completion": "chat",
    "create_image": "image",
    "create_melody": "melody",
}
"""What a model must be for an operation to be told of: its kind, or a text model's structure."""
FEEDBACK = [
    Operation(
        "post",
        "/v1/feedback",
        "create_feedback",
        "Say what an answer was worth",
        forms.FeedbackTaken,
        FeedbackBody,
        feedback_form,
        errors=(404, 507),
    )
]
SESSIONS = [
    Operation("get", "/v1/sessions", "list_sessions", "Your sessions", forms.SessionList),
    Operation(
        "get",
        "/v1/sessions/{session_id}",
        "get_session",
        "One session",
        forms.SessionInfo,
        errors=(404,),
        parameters=_SESSION,
    ),
    Operation(
        "delete",
        "/v1/sessions/{session_id}",
        "delete_session",
        "Forget a session",
        forms.SessionDeleted,
        errors=(404, 409, 507),
        parameters=_SESSION,
    ),
    Operation(
        "post",
        "/v1/sessions/{session_id}/fork",
        "fork_session",
        "Go on twice from where a session is",
        forms.SessionInfo,
        ForkBody,
        errors=(404, 409, 507),
        parameters=_SESSION,
    ),
    Operation(
        "post",
        "/v1/sessions/{session_id}/points",
        "mark_session",
        "Name the place where a session is",
        forms.SessionInfo,
        PointBody,
        errors=(404, 409, 507),
        parameters=_SESSION,
    ),
    Operation(
        "delete",
        "/v1/sessions/{session_id}/points/{point}",
        "unmark_session",
        "Forget a point",
        forms.SessionInfo,
        errors=(404, 409, 507),
        parameters=_POINT,
    ),
    Operation(
        "post",
        "/v1/sessions/{session_id}/rewind",
        "rewind_session",
        "Take a session to one of its points",
        forms.SessionInfo,
        RewindBody,
        errors=(404, 409, 507),
        parameters=_SESSION,
    ),
]
OTHERS = [
    Operation(
        "get", "/health", "health", "Whether this server can work", forms.Health, open=True, states=(503,)
    ),
    Operation("get", "/ready", "ready", "Whether it takes requests", forms.Ready, open=True, states=(503,)),
    Operation("get", "/metrics", "metrics", "Numbers for Prometheus", "text/plain", errors=(404,)),
    Operation("get", "/", "page", "A page to try the models in", "text/html"),
    Operation("get", "/openapi.json", "openapi", "This document", JSON),
]


def operations(served: Served) -> list[Operation]:
    """All that this server does."""
    asked = {model.kind.name for model in served.engine.models.values()}
    asked |= {model.structure for model in served.engine.models.values() if model.kind.name == "text"}
    making = [operation for operation in MAKING if _ASKED[operation.name] in asked]
    sessions = SESSIONS if served.sessions is not None else []
    feedback = FEEDBACK if served.feedback is not None else []
    return [*MODELS, *making, *sessions, *feedback, *OTHERS]


def add(app: FastAPI, served: Served) -> None:
    known: dict[tuple[tuple[str, str], ...], bytes] = {}

    async def tell(request: Request) -> Response:
        models = tuple((name, model.digest) for name, model in served.engine.models.items())
        if models not in known:
            known.clear()
            known[models] = json_bytes(document(operations(served), served, __version__))
        return Response(known[models], media_type=JSON)

    app.add_route("/openapi.json", tell, methods=["GET"])
