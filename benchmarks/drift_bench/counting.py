"""False alarms where nothing changed, and requests until the alarm where something did."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bowerbird.evaluation.reference import PASSAGES, Reference
from bowerbird.evaluation.shares import wilson
from bowerbird.evaluation.traits import Alphabet
from bowerbird.kinds.loaded import Model
from bowerbird.monitoring.findings import changes_of, looked_at
from bowerbird.monitoring.monitor import MonitorConfig, Normals
from bowerbird.monitoring.report import Window
from bowerbird.monitoring.window import Observed, observe
from bowerbird.runs.reference import measured_texts
from drift_bench.traffic import Said, events, stream


def reference_of(pool: Sequence[Said], model: Model, alphabet: Alphabet, seed: int) -> Reference:
    """A reference of prompts of these documents, as `evaluate` makes it: one of each, or more where they are few."""
    rng = random.Random(seed)
    by_document: dict[str, list[str]] = {}
    for one in pool:
        by_document.setdefault(one.document, []).append(one.text)
    documents = rng.sample(sorted(by_document), min(len(by_document), PASSAGES))
    each = -(-PASSAGES // len(documents))
    passages = [
        (number, text)
        for number, document in enumerate(documents)
        for text in rng.sample(by_document[document], min(each, len(by_document[document])))
    ]
    prompts = measured_texts(passages, alphabet, model=model)
    return Reference(model.digest, "text", "", "held out", prompts=prompts, alphabet=alphabet.counts)


def without_change(
    pool: Sequence[Said],
    watch: Watch,
    alphabet: Alphabet,
    config: MonitorConfig,
    windows: int,
    replicates: int,
) -> list[dict[str, Any]]:
    """Windows of one half of the documents beside a reference of the other, halved anew each time.

    Counted twice: where it is known which requests are of one document, and where each counts as a caller of its
    own.
    """
    counted = {callers: Counted() for callers in (True, False)}
    for replicate in range(replicates):
        ours, theirs = halves(pool, replicate)
        normal = reference_of(theirs, watch.model, alphabet, replicate)
        stretch = list(stream(ours, windows * config.window, replicate))
        for callers, found in counted.items():
            found.add(tested(watch(stretch, normal, callers), normal, config))
    return [
        {"callers_known": callers, "level": config.alpha, "level_in_windows": config.looks, **found.told()}
        for callers, found in counted.items()
    ]


class Counted:
    """Alarms in stretches of windows without a change."""

    def __init__(self) -> None:
        self.stretches = self.any_alarm = self.windows = self.alarms = self.small = 0
        self.by_statistic: Counter[str] = Counter()

    def add(self, found: Sequence[Window]) -> None:
        """Count a stretch."""
        self.stretches += 1
        self.any_alarm += any(window.alarms for window in found)
        self.windows += len(found)
        self.alarms += sum(bool(window.alarms) for window in found)
        self.small += sum(min(window.corrected.values(), default=1.0) <= 0.05 for window in found)
        self.by_statistic.update(name for window in found for name in window.alarms)

    def told(self) -> dict[str, Any]:
        ends = wilson(self.any_alarm, self.stretches)
        return {
            "windows": self.windows,
            "replicates": self.stretches,
            "windows_with_alarm": self.alarms,
            "stretches_with_any_alarm": self.any_alarm,
            "share": self.any_alarm / max(self.stretches, 1),
            "interval": list(ends) if ends else None,
            "windows_below_0.05_corrected": self.small / max(self.windows, 1),
            "alarms_by_statistic": dict(self.by_statistic),
        }


def until_alarm(
    before: Sequence[Said],
    after: Sequence[Said],
    watch: Watch,
    reference: Reference,
    config: MonitorConfig,
    share: float,
    tries: int,
    most: int,
) -> dict[str, Any]:
    """How many requests pass from a switch until the alarm, where a share of them is of the new kind."""
    waits: list[int] = []
    missed = []
    first_told: Counter[str] = Counter()
    for at in range(tries):
        rng = random.Random(at)
        quiet = 3 * config.window + rng.randrange(config.window)
        old = list(stream(before, quiet + most, at))
        new = list(stream(after, most, 1000 + at))
        mixed = old[:quiet] + [
            one if rng.random() < share else other for one, other in zip(new, old[quiet:], strict=True)
        ]
        seen = watch(mixed, reference, True)
        normals = Normals(reference, [], "reference")
        found: list[Window] = []
        for window in looked_at(seen, normals, config):
            found.append(window)
            if window.alarms and window.last > quiet:
                break
        else:
            continue
        waits.append(window.last - quiet)
        changes = changes_of(seen[: len(found) * config.window], found, normals, "text", config)
        first_told[changes[0].statistic] += 1
        missed.append(changes[0].since_number - quiet - 1)
    return {
        "window": config.window,
        "share": share,
        "tries": tries,
        "most": most,
        "alarms": len(waits),
        "requests_until_alarm": _spread(waits),
        "change_dated_off_by": _spread(missed),
        "surest_statistic": dict(first_told.most_common()),
    }


def halves(pool: Sequence[Said], seed: int) -> tuple[list[Said], list[Said]]:
    """The prompts of one half of the documents, and of the other."""
    documents = sorted({one.document for one in pool})
    ours = set(random.Random(seed).sample(documents, len(documents) // 2))
    return [one for one in pool if one.document in ours], [one for one in pool if one.document not in ours]


class Watch:
    """Measures prompts as `monitor` does, each different one once.

    With `callers` it is known which requests are of one document; else each counts as a caller of its own.
    """

    def __init__(self, model: Model):
        self.model = model
        self._known: dict[tuple[str, int], Observed] = {}

    def __call__(self, said: Sequence[Said], normal: Reference, callers: bool) -> list[Observed]:
        assert normal.prompts is not None
        longest = normal.prompts.longest
        new = {one.text: one for one in said if (one.text, longest) not in self._known}
        made = events(list(new.values()), self.model.name, self.model.digest)
        for text, found in zip(new, observe(made, self.model, normal), strict=True):
            self._known[text, longest] = found
        return [
            replace(
                self._known[one.text, longest],
                number=number,
                time=1_700_000_000.0 + 60.0 * number,
                caller=one.document if callers else str(number),
                named=callers,
            )
            for number, one in enumerate(said, 1)
        ]


def tested(seen: Sequence[Observed], normal: Reference, config: MonitorConfig) -> list[Window]:
    return list(looked_at(seen, Normals(normal, [], "reference"), config))


def _spread(numbers: Sequence[int]) -> dict[str, float] | None:
    if not numbers:
        return None
    return {"median": statistics.median(numbers), "least": min(numbers), "most": max(numbers)}
