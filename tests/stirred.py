"""Models of every kind that have learnt nothing, their weights stirred so that a mistake with any would show."""

from __future__ import annotations

from pathlib import Path

import torch

from bowerbird.kinds.loaded import Model

TUNES = "\n".join(
    f"X:{number}\nT:Tune {number}\nM:4/4\nL:1/8\nK:{key}\n"
    + " | ".join([*["C2DE F2GA", "G2FE D2CD", "EFGA c4", "c2BA G2FE"][number % 3 :], "C8"])
    + " |]\n"
    for number, key in enumerate(["C", "G", "D", "F", "Am", "Edor"] * 4, 1)
)
PARTS = ("model.width=16", "model.embedding=8", "batch_size=4", "length=16", "precision=float32")
"""Of a small network; `PLAIN` and `ALL` say what else is in it."""
PLAIN = (*PARTS, "model.ngrams=null", "model.cache=null")
ALL = (
    *PARTS,
    "model.layers=2",
    "model.residual=true",
    "model.norm=rms",
    "model.ngrams=4",
    "model.cache={window: 24, shortest: 2}",
)


def melodies(folder: Path) -> Path:
    """A dataset of two dozen tunes."""
    from bowerbird import lifecycle

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "book.abc").write_text(TUNES)
    return lifecycle.prepare(folder / "book.abc", folder / "dataset", kind="melody").path


def untrained(dataset: Path, out: Path, *settings: str, model: str | None = None) -> Path:
    """The bundle of a model over a dataset that has not made a step."""
    from bowerbird.data.dataset import Dataset
    from bowerbird.kinds import KINDS
    from bowerbird.runs.carry import begin, settle

    data = Dataset.open(dataset)
    kind = KINDS[data.kind]
    config = settle(
        kind,
        data,
        model=model,
        size="small",
        minutes=None,
        seed=None,
        config=None,
        settings=settings,
    )
    run = begin(kind, data, out.with_name(out.name + ".run"), config, minutes=None, steps=1)
    return stirred(run.checkpoints()[0] / "bundle", out)


def stirred(bundle: Path, out: Path) -> Path:
    """The same bundle with noise on its weights; of a text, tokens that are no text by themselves are unlikely."""
    from bowerbird.store.bundle import open_bundle, write_bundle

    found = open_bundle(bundle)
    noise = torch.Generator().manual_seed(4)
    spread = 0.03 if found.kind == "image" else 0.3  # residual blocks multiply what is too much
    weights = {}
    for name, value in found.weights().items():
        weights[name] = value
        if value.is_floating_point() and "running" not in name:
            # What recurrent weights this wild multiply in each step, the last bit of a sum is too.
            tamed = spread / 2 if "recurrent" in name else spread
            weights[name] = value + tamed * torch.randn(value.shape, generator=noise)
    if found.kind != "image":
        sizes = torch.from_numpy(Model(found).codec.byte_sizes)
        weights["bias"][(sizes < 1) & (torch.arange(len(sizes)) > 0)] -= 50.0
    own = ("format", "files", "digest")
    write_bundle(
        out,
        {key: value for key, value in found.manifest.items() if key not in own},
        weights=weights,
        partners=found.partners(),
        codec_files=found.codec_files(),
        card=(bundle / "README.md").read_text(),
    )
    return out
