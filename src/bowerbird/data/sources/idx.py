"""IDX files as MNIST's (.gz and .xz too): `*-images-idx3-ubyte` with `*-labels-idx1-ubyte` beside it.

A header of big-endian numbers (two zero bytes, 8 for bytes, the number of dimensions, then each of 4
bytes), and the bytes row by row (LeCun, Cortes & Burges, http://yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import numpy as np

from bowerbird.data.item import Item
from bowerbird.data.sources.parts import seekable
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable, on_disk

PICTURES, LABELS = ".idx3-ubyte", ".idx1-ubyte"


def read(opened: Opened, config: GatherConfig) -> Iterator[Item]:
    from bowerbird.data.picture import check_size

    if opened.suffix == LABELS:
        return  # read with their pictures
    with _unpacked(opened) as stream:
        count, height, width = _header(stream, 3)
        check_size(width, height)
        if count * height * width > config.max_archive_bytes:
            raise Unusable(f"{count} pictures of {width} x {height} are more than gather.max_archive_bytes")
        labels = _labels(opened, count)
        for number in range(count):
            content = stream.read(height * width)
            if len(content) < height * width:
                raise Unusable(f"truncated: {number} of its {count} pictures are there")
            grey = np.frombuffer(content, np.uint8).reshape(height, width, 1)
            label = str(labels[number]) if labels is not None else None
            yield Item(np.repeat(grey, 3, axis=2), f"{opened.origin}#{number + 1}", label=label)


@contextmanager
def _unpacked(opened: Opened) -> Iterator[BinaryIO]:
    with seekable(opened) as stream:
        head = stream.read(2)
        stream.seek(0)
        if head == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
                yield cast(BinaryIO, unpacked)
        elif head == b"\xfd7":
            with lzma.open(stream) as unpacked_xz:
                yield cast(BinaryIO, unpacked_xz)
        else:
            yield stream


def _header(stream: BinaryIO, dimensions: int) -> tuple[int, ...]:
    """The sizes that an IDX file of bytes declares."""
    head = stream.read(4)
    if not head:
        raise Unusable("empty file")
    sizes = stream.read(4 * dimensions)
    if head != bytes([0, 0, 8, dimensions]):
        raise Unusable(f"not an IDX file of bytes in {dimensions} dimensions")
    if len(sizes) < 4 * dimensions:
        raise Unusable("truncated: its header ends early")
    return struct.unpack(f">{dimensions}I", sizes)


def _labels(opened: Opened, count: int) -> bytes | None:
    """(count,) labels from the file beside this one, or None where there is none."""
    folder, name = os.path.split(opened.origin)
    name = re.sub("images", "labels", name, flags=re.IGNORECASE)
    name = re.sub(r"idx3-ubyte(\.gz|\.xz)?$", "idx1-ubyte", name, flags=re.IGNORECASE)
    beside = [os.path.join(folder, name + packed) for packed in ("", ".gz", ".xz")]
    path = next((path for path in beside if os.path.isfile(path)), None)
    if path is None or path == opened.origin:
        opened.tell("there are no labels beside these pictures")
        return None
    with _unpacked(Opened(path, os.path.basename(path), on_disk(path))) as stream:
        (there,) = _header(stream, 1)
        labels = stream.read(count)
    if there != count or len(labels) < count:
        raise Unusable(f"the labels in {path} are not those of {count} pictures")
    return labels


IDX = Source("IDX", (PICTURES, LABELS), read, "image")
