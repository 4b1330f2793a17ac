"""Digests: `sha256:` and 64 hexadecimal digits, of bytes, of files, and of JSON in one fixed form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def digest_bytes(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def digest_json(value: Any) -> str:
    """The digest of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same with its own digest in it."""
    return {**content, "digest": digest_json(dict(content))}


def seal_holds(content: Mapping[str, Any]) -> bool:
    """Whether what `sealed` gave is as it was."""
    told = {key: value for key, value in content.items() if key != "digest"}
    return bool(digest_json(told) == content.get("digest"))
