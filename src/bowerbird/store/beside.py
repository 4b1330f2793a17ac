"""What lies beside a bundle and travels with it, as the bundle itself is never edited: signature and reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bowerbird.store.signing import signature_of


def reference_of(bundle: Path) -> Path:
    """Where a bundle's reference statistics lie, if it has any."""
    whole = bundle.resolve()
    return whole.with_name(f"{whole.name}.reference.json")


def beside(bundle: Path, copy: Path) -> Iterator[tuple[Path, Path]]:
    """The files beside a bundle, each with its place beside a copy of the bundle."""
    for place in (signature_of, reference_of):
        if place(bundle).is_file():
            yield place(bundle), place(copy)
