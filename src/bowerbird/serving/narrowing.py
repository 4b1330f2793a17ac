"""What the models served at the moment take: bodies as their forms say, bounded by models, limits and room.

A request that keeps to such a form is never refused for what it asks, but for a prompt of too many tokens and a
melody whose parts contradict each other, which a JSON Schema cannot say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, cast

from bowerbird.data.codecs.notes import Notes
from bowerbird.data.codecs.pixels import Pixels
from bowerbird.kinds.loaded import Model
from bowerbird.models.gan import Generator
from bowerbird.serving.asked import (
    MOST_N,
    MOST_SAMPLES,
    STREAM_RULE,
    Form,
    bias_form,
    number_pattern,
    session_rule,
)
from bowerbird.serving.chat import LOGPROBS_RULE
from bowerbird.serving.completions import MOST_PROMPTS, prompt_form
from bowerbird.serving.feedback import FEEDBACK_RULES
from bowerbird.serving.making import MOST_MADE
from bowerbird.serving.served import Served

_NULL: Form = {"type": "null"}
_MOST_CLASSES = 1_000
"""Named in the form; of a model with more, any text passes it."""


def completion_form(form: Form, served: Served) -> Form:
    """For text models, by the size of their vocabulary."""
    room = min(MOST_SAMPLES, served.room)
    most_n, most_prompts = min(MOST_N, room), min(MOST_PROMPTS, room)
    few: Form = {"anyOf": [{"type": "integer", "maximum": room // most_prompts}, _NULL]}

    def narrowed(own: Form, size: int) -> None:
        most_tokens = served.limits.prompt_tokens
        own["properties"]["prompt"]["anyOf"] = prompt_form(size, most_tokens, most_prompts)["anyOf"]
        own["properties"]["logit_bias"]["anyOf"] = bias_form(size)["anyOf"]
        one = prompt_form(size, most_tokens, 1)
        several = prompt_form(size, most_tokens, room // most_n)
        own["allOf"] = [
            STREAM_RULE,
            session_rule(best_of={"anyOf": [{"type": "integer", "maximum": 1}, _NULL]}, prompt=one),
            {"anyOf": [{"properties": {"n": few, "best_of": few}}, {"properties": {"prompt": several}}]},
        ]
        _bound(own, served.limits.output_tokens, "max_tokens")
        _bound(own, most_n, "n", "best_of")
        _sessions(own, served)

    return _grouped(form, _texts(served), lambda model: model.codec.vocab_size, narrowed)


def chat_form(form: Form, served: Served) -> Form:
    """For text models that learnt turns, by the size of their vocabulary."""

    def narrowed(own: Form, size: int) -> None:
        own["properties"]["logit_bias"]["anyOf"] = bias_form(size)["anyOf"]
        own["allOf"] = [STREAM_RULE, LOGPROBS_RULE, session_rule()]
        _bound(own, served.limits.output_tokens, "max_completion_tokens", "max_tokens")
        _bound(own, min(MOST_N, served.room), "n")
        _sessions(own, served)

    chats = {name: model for name, model in _texts(served).items() if model.structure == "chat"}
    return _grouped(form, chats, lambda model: model.codec.vocab_size, narrowed)


def image_form(form: Form, served: Served) -> Form:
    """For image models, by their size and classes."""

    def about(model: Model) -> tuple[int, tuple[str, ...]]:
        generator = cast(Generator, model.network)
        names = cast(Pixels, model.codec).classes if generator.config.classes else ()
        return generator.config.resolution, names

    def narrowed(own: Form, found: tuple[int, tuple[str, ...]]) -> None:
        side, classes = found
        own["properties"]["size"] = {"enum": ["auto", f"{side}x{side}", None]}
        named: list[Form] = [{"enum": ["", *classes]}, _NULL]
        if classes:
            named.append({"type": "string", "pattern": f"^({number_pattern(len(classes) - 1)})$"})
        if len(classes) <= _MOST_CLASSES:
            own["properties"]["prompt"]["anyOf"] = named
        _bound(own, min(MOST_MADE, served.room), "n")

    return _grouped(form, _of_kind(served, "image"), about, narrowed)


def melody_form(form: Form, served: Served) -> Form:
    """For melody models, by the metres that they learnt."""

    def narrowed(own: Form, metres: tuple[str, ...]) -> None:
        own["properties"]["metre"]["anyOf"] = [{"enum": list(metres)}, _NULL]
        _bound(own, served.limits.output_tokens, "max_tokens")
        _bound(own, min(MOST_MADE, served.room), "n")

    def metres(model: Model) -> tuple[str, ...]:
        return tuple(f"{metre.beats}/{metre.unit}" for metre in cast(Notes, model.codec).metres)

    return _grouped(form, _of_kind(served, "melody"), metres, narrowed)


def feedback_form(form: Form, served: Served) -> Form:
    """A verdict names any model served here, and says something on something."""
    own = deepcopy(form)
    own["properties"]["model"]["anyOf"] = [{"enum": list(served.engine.models)}, _NULL]
    own["allOf"] = FEEDBACK_RULES
    return own


def _texts(served: Served) -> Mapping[str, Model]:
    return _of_kind(served, "text")


def _of_kind(served: Served, kind: str) -> dict[str, Model]:
    return {name: model for name, model in served.engine.models.items() if model.kind.name == kind}


def _grouped(
    form: Form, models: Mapping[str, Model], key: Callable[[Model], Any], narrow: Callable[[Form, Any], None]
) -> Form:
    """The form for each group of models that take the same, the only one or as alternatives.

    Where there is no model that could be asked, the form is as it was: every name is unknown.
    """
    groups: dict[Any, list[str]] = {}
    for name, model in models.items():
        groups.setdefault(key(model), []).append(name)
    found = []
    for about, names in groups.items():
        own = deepcopy(form)
        own["properties"]["model"] = {"type": "string", "enum": names}
        narrow(own, about)
        found.append(own)
    if not found:
        return form
    return found[0] if len(found) == 1 else {"anyOf": found}


def _bound(form: Form, most: int, *names: str) -> None:
    for name in names:
        for choice in form["properties"][name]["anyOf"]:
            if choice.get("type") == "integer":
                choice["maximum"] = min(most, choice.get("maximum", most))


def _sessions(form: Form, served: Served) -> None:
    if served.sessions is None:
        form["properties"]["session"]["anyOf"] = [_NULL]
