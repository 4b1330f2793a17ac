"""A toy recurrence as exporters see a model, and exporters that write it rightly and wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bowerbird.store.exporters.exporter import Exported, Exporter, Port, Runner

VOCABULARY, STATE = 7, 3
Change = Callable[[list[NDArray[Any]], list[NDArray[Any]]], list[NDArray[Any]]]
"""From what went in and what should come out to what does."""


class Toy(nn.Module):
    """(B,) tokens and (B, S) to (B, V) logits and (B, S)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embedding = nn.Embedding(VOCABULARY, STATE)
        self.recurrent = nn.Linear(STATE, STATE)
        self.output = nn.Linear(STATE, VOCABULARY)

    def forward(self, tokens_B: Tensor, state_BS: Tensor) -> tuple[Tensor, Tensor]:
        after = (self.embedding(tokens_B) + self.recurrent(state_BS)).tanh()
        return self.output(after), after


def toy(**changes: Any) -> Exported:
    module = Toy().eval()
    told: dict[str, Any] = {
        "kind": "text",
        "config": {"cell": "toy", "width": STATE},
        "weights": {name: value.detach() for name, value in module.state_dict().items()},
        "partners": {},
        "optimizer": None,
        "module": module,
        "inputs": (Port("tokens", (), "int64"), Port("state_0", (STATE,), "float32")),
        "outputs": (Port("logits", (VOCABULARY,), "float32"), Port("next_state_0", (STATE,), "float32")),
        "start": {"state_0": torch.full((1, STATE), 0.25)},
        "reference": lambda inputs: module(*inputs),
        "symbols": ("", *"abcdef"),
        "codec": {"name": "characters"},
        "codec_files": {"tokenizer.json": b"{}"},
        "normaliser": {},
        "structure": "plain",
        "metadata": {
            "bowerbird.start_token": "0",
            "bowerbird.end_tokens": "[0]",
            "bowerbird.banned_tokens": "[]",
        },
        "card": "# A toy\n",
        "manifest": {"kind": "text", "digest": "sha256:toy"},
    }
    return Exported(**{**told, **changes})


def toy_pictures(**changes: Any) -> Exported:
    """(B, Z) and (B,) labels to (B, C, R, R); label -1 is row 0 of the table."""
    torch.manual_seed(6)
    table, weight = torch.randn(4, 5), torch.randn(5, 3 * 2 * 2)

    def draw(inputs: Sequence[Tensor]) -> list[Tensor]:
        return [((inputs[0] + table[inputs[1] + 1]) @ weight).tanh().view(-1, 3, 2, 2)]

    return toy(
        kind="image",
        config={"classes": 3, "latent": 5},
        inputs=(Port("latent", (5,), "float32"), Port("labels", (), "int64")),
        outputs=(Port("pictures", (3, 2, 2), "float32"),),
        start={},
        reference=draw,
        **changes,
    )


def unchanged(given: list[NDArray[Any]], made: list[NDArray[Any]]) -> list[NDArray[Any]]:
    return made


def exporter(
    change: Change = unchanged, *, suffix: str = ".toy", beside: dict[str, bytes] | None = None
) -> Exporter:
    """An exporter whose file is run by the model itself, and then changed."""

    def write(exported: Exported, path: Path) -> None:
        (path if suffix else path / "model.toy").write_bytes(b"a toy")
        for name, content in (beside or {}).items():
            (path.parent / name).write_bytes(content)

    @contextmanager
    def runner(path: Path, exported: Exported) -> Iterator[Runner]:
        assert (path if suffix else path / "model.toy").read_bytes() == b"a toy"

        def run(given: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
            with torch.no_grad():
                made = exported.reference([torch.from_numpy(part) for part in given])
            return change(list(given), [part.numpy().copy() for part in made])

        yield run

    return Exporter("toy", suffix, None, write, runner, lambda exported, path: f"print({path!r})\n")
