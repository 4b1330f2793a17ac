"""The command that brings models in: import."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from bowerbird.cli import show
from bowerbird.cli.options import OUTPUT, Output


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
    app.command(import_, name="import")
