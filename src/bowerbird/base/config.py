"""Strict settings: a frozen record per stage, filled by preset < file < --set; a wrong key is an error.

Each stage keeps its own record beside the code it configures; this module only merges and checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bowerbird.base.errors import NotFound, UsageError, nearest


class Config(BaseModel):
    """A frozen record of settings. Unknown keys are refused, and numbers that are not finite."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


Settings = TypeVar("Settings", bound=Config)


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts laid over each other; a later value wins, dicts are merged key by key."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            if isinstance(value, Mapping):
                result[key] = merged(below if isinstance(below, Mapping) else {}, value)
            else:
                result[key] = value
    return result


def read_config_file(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        NotFound: there is no such file.
        UsageError: it is not YAML, or not a table of settings.
    """
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound("the config file is not there", where=path) from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"the config file cannot be read as YAML: {error}", where=path) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError("the config file must hold `key: value` lines", where=path)
    return {str(key): item for key, item in value.items()}


def parse_settings(assignments: Iterable[str]) -> dict[str, Any]:
    """`["model.width=256", "seed=1"]` as a nested dict; values are read as YAML.

    Raises:
        UsageError: an assignment has no `=` or an empty key.
    """
    import yaml

    result: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise UsageError(
                f"--set wants dotted.key=value, not `{assignment}`", hint="--set model.width=256"
            )
        try:
            value = yaml.safe_load(text) if text else ""
        except yaml.YAMLError as error:
            raise UsageError(f"--set {key}: the value cannot be read: {text!r}") from error
        nested: dict[str, Any] = {parts[-1]: value}
        for part in reversed(parts[:-1]):
            nested = {part: nested}
        result = merged(result, nested)
    return result


def resolve(
    record: type[Settings],
    *layers: Mapping[str, Any],
    config_file: Path | None = None,
    settings: Iterable[str] = (),
    where: str = "settings",
) -> Settings:
    """Build a record from layers (first the weakest), then a YAML file, then `--set` assignments.

    Raises:
        UsageError: every unknown key (with the nearest known one) and every bad value, together.
    """
    file = read_config_file(config_file) if config_file else {}
    values = merged(*layers, file, parse_settings(settings))
    try:
        return record.model_validate(values)
    except ValidationError as error:
        raise UsageError(
            "; ".join(_explain(record, problem) for problem in error.errors()), where=where
        ) from None


def _explain(record: type[BaseModel], problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    below = problem["input"]
    while problem["type"] == "extra_forbidden" and isinstance(below, Mapping) and len(below) == 1:
        ((key, below),) = below.items()  # the misspelt name is a table's: tell of the setting in it
        path.append(str(key))
    dotted = ".".join(path)
    if problem["type"] != "extra_forbidden":
        return f"`{dotted}`: {problem['msg'].lower()} (got {problem['input']!r})"
    return no_such_setting(dotted, dotted_keys(record))


def no_such_setting(dotted: str, known: Sequence[str]) -> str:
    """Says that there is no such setting, and which of the known ones was meant."""
    near = nearest(dotted, known) or nearest(
        dotted.rpartition(".")[2], {key.rpartition(".")[2] for key in known}
    )
    full = next((key for key in known if near in (key, key.rpartition(".")[2])), None)
    return f"there is no setting `{dotted}`" + (f"; did you mean `{full}`?" if full else "")


def dotted_keys(record: type[BaseModel], prefix: str = "") -> list[str]:
    """Every setting of a record by its dotted name, in order."""
    keys = []
    for name, field in record.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += dotted_keys(inner, f"{prefix}{name}.")
        else:
            keys.append(f"{prefix}{name}")
    return keys


def dotted(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Nested values as the assignments that `parse_settings` reads back."""
    import yaml

    found = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found += dotted(value, f"{prefix}{key}.")
        else:
            written = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1 << 20)
            found.append(f"{prefix}{key}={written.removesuffix('...' + chr(10)).strip()}")
    return found
