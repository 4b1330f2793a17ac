"""What lies beside a bundle and travels with it, as the bundle itself is never edited: signature and reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bowerbird.store.signing import signature_of


def reference_of(bundle: Path) -> Path:
    """Where a bundle's reference statistics lie, if it has any."""
    whole = bundle.resolve()
    return whole.with_name(f"{whole.name}.reference.json")


def beside(bundle: Path) -> Iterator[Path]:
    """The files that are there, and that go where the bundle goes."""
    for path in (signature_of(bundle), reference_of(bundle)):
        if path.is_file():
            yield path
