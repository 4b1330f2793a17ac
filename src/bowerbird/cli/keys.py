"""Commands of API keys: keys new, keys list, keys revoke."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.options import OUTPUT, Output

if TYPE_CHECKING:
    from bowerbird.serving.keys import Key, KeyRing


def new(
    name: str,
    *,
    requests_per_minute: int | None = None,
    concurrent: int | None = None,
    expires: float | None = None,
    keys: Path | None = None,
    output: Output = OUTPUT,
) -> None:
    """Make a key and show it, once: only its hash is kept.

    Example: bowerbird keys new phone --requests-per-minute 60 --expires 90

    Whoever sends it as `Authorization: Bearer KEY` may ask a server that was started with `--keys FILE`; servers
    that run already read the file again by themselves.

    Parameters
    ----------
    name
        Whose key it is, or what for; for people only.
    requests_per_minute
        How often it may ask; by default as often as the server lets any key.
    concurrent
        How many answers it may have made at the same time; by default as many as the server lets any key.
    expires
        Days until it lets nobody in; by default it does not expire.
    keys
        The file of keys; by default keys.json in the workspace.
    """
    ring = _ring(keys, output)
    key, secret = ring.new(
        name, requests_per_minute=requests_per_minute, concurrent=concurrent, expires_days=expires
    )
    until = f", until {key.expires}" if key.expires else ""
    lines = [secret, f"this is the key {key.id} ({key.name}{until}); note it now, it is never shown again"]
    then = f"bowerbird serve MODEL --keys {shlex.quote(str(ring.path))}"
    show.result(output, {**_told(key), "key": secret, "file": str(ring.path)}, lines, then)


def list_(*, keys: Path | None = None, output: Output = OUTPUT) -> None:
    """List the keys that were made, with their limits, and whether they let anybody in.

    Example: bowerbird keys list

    Parameters
    ----------
    keys
        The file of keys; by default keys.json in the workspace.
    """
    ring = _ring(keys, output)
    found = ring.keys
    head = ("id", "name", "state", "a minute", "at once", "made", "expires")
    rows = [
        (
            key.id,
            key.name,
            key.state,
            key.requests_per_minute or "-",
            key.concurrent or "-",
            key.created,
            key.expires or "-",
        )
        for key in found
    ]
    lines = show.table(rows, head) if found else [f"no keys in {ring.path}"]
    then = "bowerbird keys revoke ID" if found else "bowerbird keys new NAME"
    show.result(output, {"file": str(ring.path), "keys": [_told(key) for key in found]}, lines, then)


def revoke(key_id: str, *, keys: Path | None = None, output: Output = OUTPUT) -> None:
    """Let nobody in by a key any more; servers that run notice at the next request.

    Example: bowerbird keys revoke 3fa9c01b

    Parameters
    ----------
    key_id
        The key's id, as `keys list` shows it.
    keys
        The file of keys; by default keys.json in the workspace.
    """
    ring = _ring(keys, output)
    key = ring.revoke(key_id)
    lines = [f"revoked {key.id} ({key.name}) at {key.revoked}"]
    show.result(output, {**_told(key), "file": str(ring.path)}, lines, "bowerbird keys list")


def _ring(path: Path | None, output: Output) -> KeyRing:
    from bowerbird.serving.keys import FILE, KeyRing

    return KeyRing(path or space(output).root / FILE)


def _told(key: Key) -> dict[str, Any]:
    return {**key.model_dump(exclude={"sha256"}), "state": key.state}


def add(app: App) -> None:
    group = App(
        name="keys",
        help=(
            "Make, list and revoke the keys that let callers in to a server.\n\n"
            "Example: bowerbird keys new phone\n\n"
            "Each of these takes --json, --quiet and --workspace, and --keys FILE for keys kept elsewhere than in "
            "the workspace."
        ),
        version_flags=(),
    )
    group.command(new)
    group.command(list_, name="list")
    group.command(revoke)
    app.command(group)
