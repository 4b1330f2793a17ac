"""A request's JSON in the form that its path demands, or the error that names the first wrong field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from bowerbird.base.config import Config
from bowerbird.base.errors import nearest
from bowerbird.serving.asked import MOST_BIASED
from bowerbird.serving.errors import BadRequest

Body = TypeVar("Body", bound=Config)

_MOST_KEYS = MOST_BIASED + 100
"""Of any object in a body; so large a `logit_bias` is refused in its own words."""


def validated(body: Mapping[str, Any], form: type[Body]) -> Body:
    """A body in its form.

    Raises:
        BadRequest: a field is unknown or wrong, or one is missing; the first is named in `param`.
    """
    unknown = next((key for key in body if key not in form.model_fields), None)
    if unknown is not None:
        unknown = unknown[:100]
        near = nearest(unknown, form.model_fields)
        advice = f"; did you mean `{near}`?" if near else ""
        raise BadRequest(f"there is no field `{unknown}`{advice}", param=unknown, code="unknown_parameter")
    if (
        "model" in form.model_fields
        and form.model_fields["model"].is_required()
        and body.get("model") is None
    ):
        raise BadRequest("name a model in the field `model`", param="model", code="missing_parameter")
    crowded = next((key for key, value in body.items() if _is_crowded(value)), None)
    if crowded is not None:
        raise BadRequest(
            f"`{crowded}` holds an object with more than {_MOST_KEYS:,} fields",
            param=crowded,
            code="invalid_value",
        )
    try:
        return form.model_validate(dict(body))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        place = problems[0]["loc"]
        told = "; ".join(f"`{_dotted(problem['loc'])}`: {problem['msg'].lower()}" for problem in problems[:8])
        raise BadRequest(told, param=str(place[0]) if place else None, code="invalid_value") from None


def _is_crowded(value: Any, depth: int = 4) -> bool:
    """Whether there is an object in it whose faults, a field each, would take long to count."""
    if isinstance(value, dict):
        if len(value) > _MOST_KEYS:
            return True
        value = list(value.values())
    return isinstance(value, list) and depth > 0 and any(_is_crowded(inner, depth - 1) for inner in value)


def _dotted(place: tuple[int | str, ...]) -> str:
    """A field within others by its dotted name; what a caller made up in it is cut."""
    return ".".join(str(part)[:100] for part in place)
