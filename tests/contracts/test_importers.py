"""Every importer: a file that is none, cut short, or not there is an error of ours, with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bowerbird.base.errors import BowerbirdError, NotFound
from bowerbird.store.importers import IMPORTERS

GARBAGE = {
    "nothing": b"",
    "one byte": b"\x80",
    "zeros": bytes(5000),
    "noise": np.random.default_rng(1).bytes(5000),
    "an empty archive": b"PK\x05\x06" + bytes(18),
    "the head of an archive": b"PK\x03\x04" + bytes(60),
    "the head of HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "a header of 10 GB": (10**10).to_bytes(8, "little") + b'{"a":',
    "an empty pickle": b"\x80\x02}.",
    "JSON": b'{"a": 1}',
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("name", IMPORTERS)
def test_what_is_no_model_is_refused_with_words(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"model{IMPORTERS[name].suffixes[0]}"
    path.write_bytes(content)
    with pytest.raises(BowerbirdError):
        IMPORTERS[name].read(path)


@pytest.mark.parametrize("name", IMPORTERS)
def test_what_is_not_there_is_not_found(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        IMPORTERS[name].read(tmp_path / f"model{IMPORTERS[name].suffixes[0]}")


def test_no_suffix_belongs_to_two() -> None:
    suffixes = [suffix for importer in IMPORTERS.values() for suffix in importer.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert all(name == importer.name for name, importer in IMPORTERS.items())
