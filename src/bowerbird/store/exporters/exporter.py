"""What an exporter is: a record of how a model is written to a foreign format, run from it, and shown to others.

Shapes leave out the batch, which comes first: () stands for tokens (B,), (S,) for a state (B, S).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

Function = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Inputs in the order of the ports, to outputs in theirs."""


@dataclass(frozen=True)
class Port:
    """One input or output of the exported function."""

    name: str
    """`tokens`, `state_0` ..., `latent`, `labels`; of outputs `logits`, `next_state_0` ..., `pictures`."""
    shape: tuple[int, ...]
    dtype: str
    """`int64` or `float32`."""


@dataclass(frozen=True)
class Exported:
    """All that an exporter may look at. Nothing in it is of ours but the module, which is plain torch."""

    kind: str
    """`text`, `melody` or `image`."""
    config: Mapping[str, Any]
    """The `model` part of the settings, as JSON values."""
    weights: Mapping[str, Tensor]
    """The bundle's, as they are."""
    partners: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor] | None
    """The resume state, when the model is a run's checkpoint."""
    module: nn.Module
    """`forward(*inputs)` gives a tuple of outputs; static operations only."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    start: Mapping[str, Tensor]
    """For each state among the inputs its (1, S) value before any token; empty for pictures."""
    reference: Function
    """What our own network gives: the same inputs, the same outputs."""
    symbols: tuple[str, ...]
    """The text of each token, empty for markers and halves of characters; none for pictures."""
    codec: Mapping[str, Any]
    codec_files: Mapping[str, bytes]
    normaliser: Mapping[str, Any]
    structure: str
    metadata: Mapping[str, str]
    """What goes into the file: `bowerbird.kind`, `.digest`, `.start_token`, `.classes` ..."""
    card: str
    """README.md of the bundle."""
    manifest: Mapping[str, Any]
    """bundle.json of the bundle."""
    rebuilt: Callable[[Mapping[str, Tensor]], Function] | None = None
    """As `reference`, of our own network built anew with these weights: what runs a file that holds only them."""


Runner = Callable[[Sequence[NDArray[Any]]], list[NDArray[Any]]]
"""As a `Function`, in numpy."""


@dataclass(frozen=True)
class Exporter:
    """An entry of the shelf: one format."""

    name: str
    suffix: str
    """`.onnx`; empty where a folder is made."""
    extra: str | None
    """The optional dependencies it needs, by the name of their group."""
    write: Callable[[Exported, Path], None]
    """Write to this path, a file or an empty folder; beside a file only files that it cannot do without."""
    runner: Callable[[Path, Exported], AbstractContextManager[Runner]]
    """The format's official loader, on this file."""
    lines: Callable[[Exported, str], str]
    """About ten lines of Python that load this path and print 200 greedy characters, or save one picture.

    They run as they stand, with numpy and the format's own packages.
    """
    tolerance: float = 1e-4
    """The largest absolute difference from our own network that is let pass."""
    batches: tuple[int, ...] = (1, 3, 8)
    """Batch sizes of the proof."""
