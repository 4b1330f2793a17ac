"""The gates between a fine-tuned model and its being served: each says whether it holds, and by which numbers.

Old data is what the live version learnt from, new data what the challenger learnt besides; of both, what was held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bowerbird.base.errors import BowerbirdError
from bowerbird.evaluation.report import MAIN_SCORES, Report, in_words
from bowerbird.monitoring.policy import Policy
from bowerbird.store.bundle import MANIFEST, open_bundle
from bowerbird.store.signing import signature_of, verify

_SUFFIXES = (".json", ".safetensors", ".md")
"""Of the files in a bundle: none of them can hold code."""
_BEGINNINGS = {b"\x80": "a pickle", b"PK\x03\x04": "an archive", b"\x7fELF": "a program", b"#!": "a script"}
_COPIES = {"text": "novelty", "melody": "novelty", "image": "copied_share"}
"""By kind, the score of how much is copied from what was learnt."""


@dataclass(frozen=True)
class Gate:
    """One condition, and what was found."""

    name: str
    passed: bool
    why: str
    """In a sentence, with the numbers that decide."""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "passed": self.passed, "why": self.why, "numbers": dict(self.numbers)}


def not_worse(report: Report, policy: Policy, on: str) -> Gate:
    """On old data, the challenger is worse by less than the margin, beyond chance (non-inferiority).

    It is the upper end of the 95 % interval of the paired difference that must lie within the margin. Pictures have
    no such interval: of them the values themselves are compared, and that is said.

    Args:
        report: of the challenger, against the live version.
        policy: the margin.
        on: what the data is called.
    """
    name = f"not worse on {on}"
    row = main_row(report)
    if row is None or row["value"] is None:
        return Gate(name, False, f"{on} could not be judged: {_nothing(row)}")
    allowed = policy.margin * abs(row["b"])
    numbers = {**_told(row), "margin": policy.margin, "allowed": allowed}
    change = f"{row['a']:.4f} against {row['b']:.4f} {in_words(row['unit'])} ({_share(row['value'], row['b']):+.2%})"
    if row["interval"] is None:
        if report.kind != "image":
            return Gate(name, False, f"too little of {on} is held out to tell: {change}", numbers)
        held = row["value"] <= allowed
        return Gate(name, held, f"{change}; not tested, {policy.margin:.0%} worse is allowed", numbers)
    worst = row["interval"][1]
    held = worst <= allowed
    why = f"{change}; at worst {_share(worst, row['b']):+.2%} (95 %), and {policy.margin:.0%} is allowed"
    return Gate(name, held, why, numbers)


def better(report: Report, policy: Policy) -> Gate:
    """On the new data, the challenger is better by more than the least gain, beyond chance."""
    name = "better on the new data"
    row = main_row(report)
    if row is None or row["value"] is None:
        return Gate(name, False, f"the new data could not be judged: {_nothing(row)}")
    gain = -row["value"]
    numbers = {**_told(row), "least_gain": policy.least_gain}
    told = f"{row['a']:.4f} against {row['b']:.4f} {in_words(row['unit'])}, {gain:+.4f} better"
    if row["interval"] is None:
        if report.kind != "image":
            return Gate(name, False, f"too little new data is held out to tell: {told}", numbers)
        return Gate(name, gain > policy.least_gain, f"{told}; not tested", numbers)
    low = -row["interval"][1]
    held = low > policy.least_gain
    return Gate(
        name, held, f"{told}; at least {low:+.4f} (95 %), more than {policy.least_gain:g} is wanted", numbers
    )


def no_less_novel(on_old: Sequence[Report], on_new: Report, policy: Policy) -> Gate:
    """The challenger copies no more from what it learnt, old and new, than the live version does from old data.

    A share beyond that is allowed by the policy; and where held-out texts themselves repeat more of the training
    text than the live version does, as much as they do is no copying.
    """
    name, score = "no less novel", _COPIES[on_new.kind]
    lower = score == "copied_share"
    before: float | None = None
    numbers: dict[str, Any] = {}
    worst: tuple[str, float, float] | None = None
    for report in on_old:
        row = next((row for row in report.comparison or () if row["name"] == score), None)
        if row is not None and row["b"] is not None:
            copied = row["b"] if lower else 1 - row["b"]
            before = copied if before is None else max(before, copied)
    if before is None:
        return Gate(name, False, "it could not be told how much the live version copies")
    for what, report in [
        *((f"old data {at}", one) for at, one in enumerate(on_old, 1)),
        ("the new data", on_new),
    ]:
        found = next((one for one in report.scores if one.name == score), None)
        if found is None or found.value is None:
            return Gate(name, False, f"it could not be told how much is copied from {what}")
        copied = found.value if lower else 1 - found.value
        people = 0.0
        if found.reference is not None:
            people = found.reference if lower else 1 - found.reference
        allowed = max(before, people) + policy.novelty_margin
        numbers[what] = {"copied": copied, "held_out_repeats": people, "allowed": allowed}
        if worst is None or copied - allowed > worst[1] - worst[2]:
            worst = what, copied, allowed
    assert worst is not None, "the new data is there"
    what, copied, allowed = worst
    why = f"{copied:.2%} is copied from {what}; the live version copies {before:.2%}, and {allowed:.2%} is allowed"
    return Gate(name, copied <= allowed, why, {"live_copied": before, **numbers})


def safe_files(challenger: Path, live: Path, public_key: Path | None) -> Gate:
    """The bundle is whole, holds data only, and is signed where the live one is.

    Args:
        challenger: its bundle, as it is to be published.
        live: the bundle of the live version.
        public_key: whose signature both must have; None is nobody's in particular.
    """
    name = "safe files"
    try:
        bundle = open_bundle(challenger)
    except BowerbirdError as error:
        return Gate(name, False, f"the bundle is damaged: {error.what}")
    files = sorted(path for path in challenger.iterdir())
    for path in files:
        beginning = b""
        if path.is_file():
            with path.open("rb") as file:
                beginning = file.read(8)
        found = next((what for start, what in _BEGINNINGS.items() if beginning.startswith(start)), None)
        if path.suffix not in _SUFFIXES or found:
            return Gate(name, False, f"{path.name} is {found or 'no file of a bundle'}")
    signed = signature_of(live).is_file()
    numbers = {"digest": bundle.digest, "files": [path.name for path in files], "signed": signed}
    if signed and not signature_of(challenger).is_file():
        return Gate(name, False, "the live version is signed and this one is not: give --key", numbers)
    if public_key is not None:
        for what, path in (("the live version", live), ("this one", challenger)):
            if what == "the live version" and not signed:
                continue
            try:
                verify(path, public_key)
            except BowerbirdError as error:
                return Gate(name, False, f"the signature of {what} does not hold: {error.what}", numbers)
    said = "signed as the live version is" if signed else "not signed, nor is the live version"
    return Gate(name, True, f"{len(files)} files agree with {MANIFEST}, none can hold code; {said}", numbers)


def _share(change: float, of: float) -> float:
    return change / of if of else 0.0


def main_row(report: Report) -> Mapping[str, Any] | None:
    """The row of a comparison by which models are compared."""
    return next((row for row in report.comparison or () if row["name"] in MAIN_SCORES), None)


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "unit", "value", "interval", "n")
    return {"challenger": row["a"], "live": row["b"], **{key: row[key] for key in keys}}


def _nothing(row: Mapping[str, Any] | None) -> str:
    return "there is no score to compare by" if row is None else str(row["verdict"] or "there is no value")
