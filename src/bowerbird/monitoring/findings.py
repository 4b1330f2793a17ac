"""From measured requests to findings: each window tested, and what the windows' alarms come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bowerbird.data.cleaning.mask import masked
from bowerbird.evaluation.evidence import Floats
from bowerbird.evaluation.traits import cut
from bowerbird.monitoring.change import Placed, Tested, change_point, class_test, holm, number_test, placed
from bowerbird.monitoring.normal import Normal, OfTraffic
from bowerbird.monitoring.report import Change, Window
from bowerbird.monitoring.window import Observed
from bowerbird.monitoring.words import sentence, wording

if TYPE_CHECKING:
    from bowerbird.monitoring.monitor import MonitorConfig

_STILL = 0.01
"""A window with a chance below this, uncorrected, still belongs to a change that an alarm has shown."""
_EXAMPLE_BYTES = 300


class Normals(Protocol):
    """What is normal, by statistic."""

    def of(self, statistic: str, start: int) -> Normal | None:
        """For a window that begins with the request of this number; None where nothing is known."""
        ...

    def usual_only(self, statistic: str) -> bool:
        """Whether only requests at usual settings can be compared."""
        ...


def looked_at(stream: Sequence[Observed], normals: Normals, config: MonitorConfig) -> Iterator[Window]:
    """Every whole window of a stream, in order; what is left at its end is not looked at yet."""
    for first in range(0, len(stream) - config.window + 1, config.window):
        yield _window(stream[first : first + config.window], normals, config)


def _window(requests: Sequence[Observed], normals: Normals, config: MonitorConfig) -> Window:
    start = requests[0].number
    tests = {}
    for statistic in sorted({name for one in requests for name in (*one.numbers, *one.classes)}):
        normal = normals.of(statistic, start)
        if normal is None:
            continue
        test = _test(_having(requests, statistic, normals), statistic, normal, config.seed + start)
        if test is not None:
            tests[statistic] = test
    corrected = holm({name: test.p for name, test in tests.items()})
    named = {one.caller for one in requests if one.named}
    return Window(
        first=start,
        last=requests[-1].number,
        began=min(one.time for one in requests),
        ended=max(one.time for one in requests),
        requests=len(requests),
        callers=len(named) if named else None,
        tests=tests,
        corrected=corrected,
        alarms=tuple(name for name, p in corrected.items() if p <= config.alpha / config.looks),
    )


def changes_of(
    stream: Sequence[Observed],
    windows: Sequence[Window],
    normals: Normals,
    kind: str,
    config: MonitorConfig,
) -> list[Change]:
    """What moved, the surest first: of each statistic the latest stretch of windows with an alarm."""
    found = []
    for statistic in sorted({name for window in windows for name in window.alarms}):
        last = max(at for at, window in enumerate(windows) if statistic in window.alarms)
        begin, end = last, last
        while begin and _still(windows[begin - 1], statistic):
            begin -= 1
        while end + 1 < len(windows) and _still(windows[end + 1], statistic):
            end += 1
        found.append(_change(stream, windows, begin, end, statistic, normals, kind, config))
    return sorted(found, key=lambda change: (not change.ongoing, change.p))


def _still(window: Window, statistic: str) -> bool:
    test = window.tests.get(statistic)
    return test is not None and test.p <= _STILL


def _change(
    stream: Sequence[Observed],
    windows: Sequence[Window],
    begin: int,
    end: int,
    statistic: str,
    normals: Normals,
    kind: str,
    config: MonitorConfig,
) -> Change:
    episode = windows[begin : end + 1]
    normal = normals.of(statistic, episode[0].first)
    assert normal is not None, "a window was tested against it"
    surest = min(episode, key=lambda window: window.corrected.get(statistic, 1.0))
    name = surest.tests[statistic].name
    # The change may have begun in the window before the first that shows it.
    size = config.window
    low, high = max(begin - 1, 0) * size, min(begin + 1, end) * size + size
    near = _having(stream[low:high], statistic, normals)
    at = 0 if begin == 0 else change_point(_series(near, statistic, name, normal, config.seed))
    if begin == 0 and normals.of(statistic, stream[0].number) is normal:
        at = _from_the_first(near, statistic, name, normal, config.seed)
    start = near[at]
    requests = [one for one in stream if start.number <= one.number <= episode[-1].last]
    having = _having(requests, statistic, normals)
    whole = _test(having, statistic, normal, config.seed) or surest.tests[statistic]
    callers = Counter(one.caller for one in requests if one.named)
    return Change(
        statistic=statistic,
        words=sentence(statistic, kind, whole.before, whole.after, whole.name),
        unit=wording(statistic, kind).unit,
        against=normal.what,
        before=whole.before,
        after=whole.after,
        interval=(whole.effect - 1.96 * whole.error, whole.effect + 1.96 * whole.error),
        p=min(1.0, surest.corrected[statistic] * config.looks),
        since=start.time,
        since_number=start.number,
        from_start=start.number == stream[0].number,
        requests=len(requests),
        until=None if end + 1 == len(windows) else episode[-1].ended,
        name=whole.name,
        examples=_examples(having, statistic, whole, normal, config),
        top_caller=callers.most_common(1)[0][1] / len(requests) if callers else None,
    )


def _having(requests: Sequence[Observed], statistic: str, normals: Normals) -> list[Observed]:
    """The requests that can be compared by a statistic."""
    usual = normals.usual_only(statistic)
    return [
        one
        for one in requests
        if (statistic in one.numbers or statistic in one.classes) and (one.usual or not usual)
    ]


def _test(requests: Sequence[Observed], statistic: str, normal: Normal, seed: int) -> Tested | None:
    if not requests:
        return None
    callers = [one.caller for one in requests]
    lengths = _lengths(requests, statistic, normal)
    effect = normal.effect(float(np.median(lengths)))
    if statistic in requests[0].numbers:
        return number_test(_placed(requests, statistic, normal, seed), callers, effect, seed)
    expected, known = normal.shares(lengths)
    return class_test([one.classes[statistic] for one in requests], expected, known, callers, effect)


def _lengths(requests: Sequence[Observed], statistic: str, normal: Normal) -> list[float]:
    """How long each is, where that counts: traffic is compared with traffic of all lengths."""
    if isinstance(normal, OfTraffic):
        return [0.0] * len(requests)
    side = statistic.partition(".")[0]
    return [one.sizes.get(side, 0.0) for one in requests]


def _placed(requests: Sequence[Observed], statistic: str, normal: Normal, seed: int) -> Placed:
    values = [one.numbers[statistic] for one in requests]
    return placed(values, _lengths(requests, statistic, normal), normal.values, seed)


def _series(requests: Sequence[Observed], statistic: str, name: str, normal: Normal, seed: int) -> Floats:
    """(n,) what a change point is looked for in: placements, or whether it is of the class that differs most."""
    if statistic in requests[0].numbers:
        return _placed(requests, statistic, normal, seed).placements
    return np.array([one.classes[statistic] == name for one in requests], np.float64)


def _from_the_first(
    requests: Sequence[Observed], statistic: str, name: str, normal: Normal, seed: int
) -> int:
    """Where a change in the first window began: at its first request, unless its first third was normal."""
    third = max(len(requests) // 3, 1)
    test = _test(requests[:third], statistic, normal, seed)
    if test is None or test.p <= _STILL:
        return 0
    return change_point(_series(requests, statistic, name, normal, seed))


def _examples(
    requests: Sequence[Observed], statistic: str, whole: Tested, normal: Normal, config: MonitorConfig
) -> tuple[str, ...]:
    """Different prompts that show a change best."""
    if statistic in requests[0].numbers:
        placements = _placed(requests, statistic, normal, config.seed).placements
        order = np.argsort(-placements if whole.effect > 0 else placements, kind="stable").tolist()
        shown = [requests[at] for at in order]
    else:
        same = [one for one in requests if one.classes[statistic] == whole.name]
        shown = same if whole.effect > 0 else [one for one in requests if one not in same]
    kept: list[str] = []
    for one in shown:
        if len(kept) == config.examples:
            break
        text = masked(cut(one.prompt.strip(), _EXAMPLE_BYTES)) if one.prompt else ""
        if text and text not in kept:
            kept.append(text)
    return tuple(kept)
