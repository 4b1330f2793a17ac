"""Commands that take a model elsewhere, or bring one in: export, import."""

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


def import_(file: Path, *, out: Path, symbols: Path | None = None, output: Output = OUTPUT) -> None:
    """Make a bundle of a model file from elsewhere, without running any code in it.

    Example: bowerbird import poems.keras --symbols characters.json --out bundles/poems

    Read are .safetensors, .pth and .pt, .keras, .h5 and .hdf5: our own exports, and character models of an
    embedding, LSTM, GRU or RNN layers and an output layer.

    Parameters
    ----------
    file
        The file, or a folder exported to safetensors.
    out
        The bundle to make.
    symbols
        A JSON list of the model's characters in the order of its tokens, or a table from character to number,
        where the file does not tell; vocab.json beside the file is found by itself.
    """
    from bowerbird import lifecycle

    model = lifecycle.import_model(file, out, symbols=symbols)
    manifest = model.bundle.manifest
    came = manifest["lineage"]["imported"]
    told = {
        "bundle": str(out),
        "digest": model.digest,
        "kind": model.kind.name,
        "model": model.kind.model_name(manifest["config"]),
        "parameters": model.parameters,
        "vocab_size": model.codec.vocab_size,
        **came,
    }
    lines = []
    if came["pickled"]:
        lines.append(f"picklescan: its pickles ask for {', '.join(came['pickled'])}; none is dangerous")
    lines.append(
        f"{told['model']}, {model.parameters:,} parameters, from a file of the format {came['format']}"
    )
    lines += [f"note: {note}" for note in came["notes"]]
    show.result(output, told, lines, f"bowerbird generate {out}")


def add(app: App) -> None:
    app.command(export)
    app.command(import_, name="import")
