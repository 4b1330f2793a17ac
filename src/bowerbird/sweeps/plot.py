"""A sweep as a picture: a panel for each setting, its values against the score of every trial."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from bowerbird.sweeps.ranking import Standing
from bowerbird.sweeps.space import Range, Space, spell

_WON, _DONE, _PRUNED = "#c2410c", "#8aa4c8", "#c9c9c9"


def draw(space: Space, ranked: list[Standing], measure: str) -> bytes | None:
    """The picture as PNG, None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(4.2 * len(space), 3.8), layout="constrained")
    panels = figure.subplots(1, len(space), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, space, strict=True):
        _panel(axes, space, key, ranked)
    panels[0].set_ylabel(f"{measure.replace('_', ' ')} on held-out data")
    content = BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()


def _panel(axes: Any, space: Space, key: str, ranked: list[Standing]) -> None:
    side = space[key]
    places: dict[str, Any] = {}
    if isinstance(side, Range):
        axes.set_xscale("log" if side.log else "linear")
    else:
        places = {spell(value): place for place, value in enumerate(side.values)}
        axes.set_xticks(list(places.values()), list(places))
        axes.set_xlim(-0.5, len(places) - 0.5)
    for found in reversed(ranked):  # the winner is drawn last, over the others
        won = found is ranked[0] and found.status == "done"
        for trial in found.trials:
            if trial.score is None:
                continue
            value = found.settings[key]
            filled = trial.status == "done"
            colour = _WON if won else _DONE if filled else _PRUNED
            at = places[spell(value)] if places else value
            axes.plot(at, trial.score, "o", color=colour, markerfacecolor=colour if filled else "none")
    if ranked and ranked[0].status == "done" and ranked[0].score is not None:
        axes.axhline(ranked[0].score, color=_WON, linewidth=0.8, alpha=0.5)
    axes.set_xlabel(key)
    axes.spines[["top", "right"]].set_visible(False)
