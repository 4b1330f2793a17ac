"""The command that takes a model elsewhere: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.options import OUTPUT, Output


def export(
    model: str,
    *,
    to: str,
    out: Path,
    without_optimizer: Annotated[bool, Parameter(negative="")] = False,
    output: Output = OUTPUT,
) -> None:
    """Write a model to another format, proved to give the same before it is put in place.

    Example: bowerbird export poems@live --to onnx --out poems.onnx

    Parameters
    ----------
    model
        A run, a bundle, or a name as poems@live.
    to
        safetensors, pth, or another of `bowerbird list exporters`.
    out
        The file to write, for safetensors the folder; never overwritten. The proof is in parity.json beside it,
        or in the folder.
    without_optimizer
        For pth: leave out what training would go on from.
    """
    from bowerbird import lifecycle

    told = lifecycle.export(model, to=to, out=out, optimizer=not without_optimizer, workspace=space(output))
    parity = told["parity"]
    lines = [
        f"wrote {told['path']} ({told['size_bytes']:,} bytes)",
        f"largest difference from the model, over {len(parity['cases'])} cases: "
        f"{parity['max_abs_difference']:.2g} (up to {parity['tolerance']:.2g} is let pass)",
        "these lines run it:",
        "",
        *str(told["lines"]).splitlines(),
    ]
    show.result(output, told, lines)


def add(app: App) -> None:
    app.command(export)
