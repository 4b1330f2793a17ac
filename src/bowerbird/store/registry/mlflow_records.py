"""What our registry writes into MLflow's tags, and reads from them with every field checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import Any

from bowerbird.base.errors import CorruptFile
from bowerbird.base.files import check_format, read_json
from bowerbird.store.registry.log import well_formed
from bowerbird.store.registry.version import FORMAT, Version

DIGEST, PARENT, RECORD = "bowerbird.digest", "bowerbird.parent", "bowerbird.record"
ORIGIN = {"dataset": "bowerbird.dataset", "run": "bowerbird.run"}
MOVE = "bowerbird.move."
_PARAMS, _PARAM_LENGTH = 100, 500
_RUN = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""MLflow's name of a run, which names a folder of the cache."""


def now(after: str = "") -> str:
    """This moment, UTC, or the first one after `after`: clocks differ, and what was seen came before."""
    moment = datetime.now(UTC)
    if after:
        moment = max(moment, datetime.fromisoformat(after) + timedelta(microseconds=1))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def version_tags(
    digest: str,
    scores: Mapping[str, float],
    parent: str | None,
    origin: Mapping[str, str],
    when: str,
    whom: str,
    why: str | None,
) -> dict[str, str]:
    """Tags of a new version: what to search for, and a record with its entry in the log."""
    record = {"format": FORMAT, "when": when, "who": whom, "why": why, "scores": dict(scores)}
    tags = {DIGEST: digest, RECORD: json.dumps(record, ensure_ascii=False)}
    if parent is not None:
        tags[PARENT] = parent
    return tags | {ORIGIN[key]: value for key, value in origin.items() if key in ORIGIN}


def version_of(entry: Any, aliases: Mapping[str, int], cache: Path, where: str) -> Version:
    """The version that MLflow's entry tells of.

    Raises:
        CorruptFile: its tags are damaged or too new, or it has no run.
    """
    number, record = int(entry.version), _record(entry, where)
    if DIGEST not in entry.tags or not _RUN.fullmatch(entry.run_id or ""):
        raise CorruptFile(f"{entry.name}@{number} has no run, or no digest, in MLflow", where=where)
    return Version(
        name=entry.name,
        version=number,
        digest=entry.tags[DIGEST],
        created=f"{record['when'][:19]}Z",
        aliases=tuple(sorted(alias for alias, target in aliases.items() if target == number)),
        scores={key: float(value) for key, value in record["scores"].items()},
        parent=entry.tags.get(PARENT),
        path=cache / entry.run_id / "bundle",
        origin={key: entry.tags[tag] for key, tag in ORIGIN.items() if tag in entry.tags},
    )


def move_tag(
    key: str, name: str, action: str, alias: str, number: int, when: str, whom: str, why: str | None
) -> tuple[str, str]:
    """The tag of one move of an alias: its key, made unlike any other by `key`, and its value."""
    entry = _entry(name, action, number, when, whom, why, alias)
    return f"{MOVE}{key}", json.dumps(entry, ensure_ascii=False)


def moves_of(tags: Mapping[str, str], name: str, where: str) -> list[dict[str, Any]]:
    """The moves of aliases that a name's tags tell of, oldest first.

    Raises:
        CorruptFile: one of them is damaged.
    """
    moves = [_read(value, name, where) for key, value in sorted(tags.items()) if key.startswith(MOVE)]
    if not all(well_formed(move) and _is_moment(move["when"]) for move in moves):
        raise CorruptFile(f"an entry in the log of `{name}` is damaged", where=where)
    return sorted(moves, key=lambda move: str(move["when"]))


def timeline(entries: Iterable[Any], moves: Iterable[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """The whole log of a name, oldest first, from MLflow's entries of its versions and the moves."""
    published = []
    for one in entries:
        record = _record(one, where)
        when, whom, why = record["when"], record["who"], record["why"]
        published.append(_entry(one.name, "publish", int(one.version), when, whom, why))
    told: list[dict[str, Any]] = []
    points_at: dict[str | None, int] = {}
    for entry in sorted([*published, *moves], key=lambda entry: str(entry["when"])):
        told.append({**entry, "previous": points_at.get(entry["alias"])})
        if entry["alias"] is not None:
            points_at[entry["alias"]] = entry["version"]
    return told


def settings_of(bundle: Path) -> dict[str, str]:
    """A bundle's settings by dotted name, for people to compare runs by; so many as MLflow takes at once."""
    manifest = read_json(bundle / "bundle.json", "bundle")
    found: dict[str, str] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif value is not None:
            found[prefix] = str(value)[:_PARAM_LENGTH]

    walk("", (manifest.get("config") or {}) if isinstance(manifest, dict) else {})
    return dict(list(found.items())[:_PARAMS])


def _record(entry: Any, where: str) -> dict[str, Any]:
    """What a version's record tells: `format, when, who, why, scores`."""
    what = f"{entry.name}@{entry.version}"
    record = _read(entry.tags.get(RECORD, ""), what, where)
    check_format(record.get("format"), FORMAT, f"version ({what})", where)
    scores, reason = record.get("scores"), record.get("why", 0)
    right = isinstance(scores, dict) and all(_is_number(value) for value in scores.values())
    right = right and isinstance(record.get("who"), str) and isinstance(reason, str | None)
    if not right or not _is_moment(record.get("when")):
        raise CorruptFile(f"the record of {what} is damaged", where=where)
    return record


def _read(text: str, what: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"a record of {what} is damaged: {error}", where=where) from error
    if not isinstance(value, dict):
        raise CorruptFile(f"a record of {what} is damaged", where=where)
    return value


def _entry(
    name: str, action: str, number: int, when: str, whom: str, why: str | None, alias: str | None = None
) -> dict[str, Any]:
    """An entry of the log; what the alias pointed at before is known when all of them are read."""
    told = {"when": when, "who": whom, "action": action, "name": name}
    return {**told, "alias": alias, "version": number, "previous": None, "why": why}


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    try:
        return isinstance(value, int | float) and isfinite(value)
    except OverflowError:
        return False


def _is_moment(when: Any) -> bool:
    """Whether it is a time as `now` writes it, so that the order of the texts is that of the times."""
    if not isinstance(when, str) or len(when) != 27 or not when.endswith("Z"):
        return False
    try:
        return datetime.fromisoformat(when).year < 9999  # there must be moments after it
    except ValueError:
        return False
