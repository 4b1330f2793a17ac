"""Ways to damage a file: cut, flip, swap, overwrite; claim too much in a header; say other things in JSON or a zip."""

from __future__ import annotations

import io
import json
import os
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Bytes = Callable[[bytes, random.Random], bytes]
_HUGE = (10 * 2**30, 2**62, 2**63, 2**64 - 1, 2**31 - 1, 2**32 - 1)
_STRANGE: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 3, 0.5, 1e308, -1e308, 10**30, 2**63, "", "x", "../../outside", "/etc/passwd", "\0",
    "\ud800", "x" * 5000, [], {}, [[]], {"": {}}, [1, 2], "sha256:0", "F32", "I8", "BF16", "U64", "F8_E4M3", "F4",
    "lstm", "mingru", "image", "melody", "bpe", "pixels", "notes", "rms", 99, 16384, 4096, 1 << 20,
)  # fmt: skip


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def overwritten(content: bytes, chance: random.Random) -> bytes:
    first, last = _part(content, chance)
    filled = chance.choice([bytes(last - first), b"\xff" * (last - first), chance.randbytes(last - first)])
    return content[:first] + filled + content[last:]


def swapped(content: bytes, chance: random.Random) -> bytes:
    places = sorted(chance.randrange(len(content) + 1) for _ in range(4))
    a, b, c, d = places
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def repeated(content: bytes, chance: random.Random) -> bytes:
    first, last = _part(content, chance)
    at = chance.randrange(len(content) + 1)
    return content[:at] + content[first:last] * chance.choice([1, 2, 50]) + content[at:]


def removed(content: bytes, chance: random.Random) -> bytes:
    first, last = _part(content, chance)
    return content[:first] + content[last:]


def claiming(content: bytes, chance: random.Random) -> bytes:
    """A number of the beginning made huge: lengths stand there in most formats."""
    size = chance.choice([4, 8])
    at = chance.choice([0, 0, 0, *range(0, 64, 4)])
    number = chance.choice([*_HUGE, len(content), len(content) + 1, chance.randrange(1 << 16)])
    told = (number % (1 << 8 * size)).to_bytes(size, chance.choice(["little", "big"]))
    return content[:at] + told + content[at + size :]


def replaced(content: bytes, chance: random.Random) -> bytes:
    """Something else entirely."""
    other = (
        b"",
        b"{}",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b"\x80\x04\x95.",
        b"PK\x05\x06" + bytes(18),
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"9" * 5000,
        chance.randbytes(len(content)),
    )
    return chance.choice(other)


PLAIN: tuple[Bytes, ...] = (cut, flipped, overwritten, swapped, repeated, removed, claiming, replaced)


def restated(content: bytes, chance: random.Random) -> bytes:
    """JSON that says something else in one place or a few, and is JSON still."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return flipped(content, chance)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        value = _changed(value, chance)
    text = json.dumps(value)
    if chance.random() < 0.05 and text.startswith("{") and len(text) > 2:
        text = f'{{"format": 7, {text[1:]}'  # a key twice, more often than not
    return text.encode("utf-8", "surrogatepass")


def reheaded(content: bytes, chance: random.Random) -> bytes:
    """safetensors whose header says something else, and has the length that is told."""
    begins = 8 + int.from_bytes(content[:8], "little")
    header = restated(content[8:begins], chance)
    return len(header).to_bytes(8, "little") + header + content[begins:]


def rezipped(content: bytes, chance: random.Random) -> bytes:
    """A zip with a member that is damaged, has another name, is there twice, or is a bomb; its checksums are right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return flipped(content, chance)
    if not members:
        return flipped(content, chance)
    at = chance.randrange(len(members))
    name, inner = members[at]
    way = chance.choice(["damage", "damage", "damage", "rename", "twice", "leave out", "add", "bomb"])
    if way == "damage":
        members[at] = name, damaged(inner, name, chance)
    elif way == "rename":
        members[at] = chance.choice(["../../outside", "/tmp/outside", name.upper(), "x"]), inner
    elif way == "twice":
        members.append((name, damaged(inner, name, chance)))
    elif way == "leave out":
        del members[at]
    elif way == "add":
        members.append((chance.choice(["../outside", "a/../../outside", "data.pkl"]), b"outside"))
    else:
        members[at] = name, bytes(64 << 20)
    target = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if way == "bomb" else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w", kind) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, inner in members:
            archive.writestr(name, inner)
    return target.getvalue()


def damaged(content: bytes, name: str, chance: random.Random) -> bytes:
    """A file's content, damaged in a way that its name suggests or in any."""
    own: tuple[Bytes, ...] = ()
    if name.endswith((".json", ".sig")):
        own = (restated,)
    elif name.endswith(".safetensors"):
        own = (reheaded,)
    elif content.startswith(b"PK"):
        own = (rezipped,)
    way = chance.choice(own if own and chance.random() < 0.6 else PLAIN)
    return way(content, chance)


def damage_file(path: Path, outside: Path, chance: random.Random) -> str:
    """Damage a file where it lies; returns how."""
    if chance.random() < 0.08:
        way = chance.choice(
            ["gone", "a link", "a link to nowhere", "a folder", "a pipe", "an endless device"]
        )
        path.unlink()
        if way == "a link":
            path.symlink_to(outside)
        elif way == "a link to nowhere":
            path.symlink_to(path.with_name("nowhere"))
        elif way == "an endless device":
            path.symlink_to("/dev/zero")
        elif way == "a folder":
            path.mkdir()
        elif way == "a pipe":
            os.mkfifo(path)
        return way
    before = path.read_bytes()
    after = damaged(before, path.name, chance)
    path.write_bytes(after)
    return f"{len(before)} bytes to {len(after)}"


def _part(content: bytes, chance: random.Random) -> tuple[int, int]:
    first, last = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return first, min(last, first + chance.choice([1, 8, 64, 1 << 20]))


def _changed(value: Any, chance: random.Random) -> Any:
    """A JSON value with one of its parts changed, chosen by going down at random."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        if chance.random() < 0.1:
            return {name: inner for name, inner in value.items() if name != key}
        if chance.random() < 0.05:
            return {**value, str(chance.choice(_STRANGE))[:50]: value[key]}
        return {**value, key: _changed(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        if chance.random() < 0.1:
            return value[:at] + value[at + 1 :]
        if chance.random() < 0.1:
            return value + value[at : at + 1]
        return [*value[:at], _changed(value[at], chance), *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.5:
        return value + chance.choice([-1, 1, 7, -value * 2, value, 1 << 31])
    strange = chance.choice(_STRANGE)
    if chance.random() < 0.03:
        for _ in range(chance.choice([150, 450, 900])):
            strange = [strange]
    return strange
