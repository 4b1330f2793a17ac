"""The curves of a run as a picture: training and validation loss against steps, or what else decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bowerbird.base.files import write_whole


def draw_curve(records: Sequence[dict[str, Any]], path: Path) -> bool:
    """Draw a run's journal into a PNG. False where matplotlib is not installed; nothing is written then.

    The training loss is drawn where held-out data has a loss too; of pictures there is a distance alone.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    from io import BytesIO

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    judged = [record for record in records if record.get("event") == "evaluate"]
    alike = not any("valid_fid" in record for record in judged)
    valid = [(record["step"], record["valid_loss" if alike else "valid_fid"]) for record in judged]
    train = [
        (record["step"], record["loss"]) for record in records if alike and record.get("event") == "train"
    ]
    axes.plot(*zip(*train, strict=True), label="training", color="#8aa4c8", linewidth=1) if train else None
    axes.plot(
        *zip(*valid, strict=True), label="held out", color="#c2410c", marker="o", markersize=3
    ) if valid else None
    best = min(valid, key=lambda point: point[1], default=None)
    if best:
        axes.annotate(
            f"{best[1]:.3f}", best, textcoords="offset points", xytext=(0, -14), ha="center", color="#c2410c"
        )
        axes.legend(frameon=False)
    axes.set(xlabel="step", ylabel="loss, nats a token" if alike else "FID")
    if not alike and min(value for _, value in valid) > 0:
        axes.set_yscale("log")
    axes.spines[["top", "right"]].set_visible(False)
    content = BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_whole(path, content.getvalue())
    return True
