"""The command that answers: serve."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclopts import App

from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.options import OUTPUT, Output


def serve(
    *model: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    require_signature: Path | None = None,
    output: Output = OUTPUT,
) -> None:
    """Answer requests with models, over HTTP as OpenAI's API does, until Ctrl-C.

    Example: bowerbird serve poems@live --port 8000

    With --json one object, {"url", "models"}, is printed once it is ready.

    Parameters
    ----------
    model
        Runs, bundles or names as poems, poems@live; each is asked for by this name, a folder by its own.
    host
        An address of this machine: 127.0.0.1, ::1 or localhost.
    port
        The port; 0 takes any that is free.
    require_signature
        A file of a public key; nothing is served unless its owner signed every model.
    """
    from bowerbird.serving.app import create_app
    from bowerbird.serving.server import check_installed, listen, run, url_of

    check_installed()
    bound = listen(host, port)
    with bound:
        app = create_app(_loaded(model, require_signature, output), local=True)
        url = url_of(bound)
        run(app, bound, on_ready=lambda: _tell(output, url, app.state.engine.models))
    show.note(output, "stopped")


def _loaded(references: tuple[str, ...], key: Path | None, output: Output) -> dict[str, Any]:
    """Models by id: the reference for a published one, the folder's name for a path."""
    from bowerbird import lifecycle
    from bowerbird.base.errors import UsageError

    if not references:
        raise UsageError("name at least one model", hint="bowerbird serve poems@live")
    workspace = space(output)
    places: dict[str, str] = {}
    for reference in references:
        located = workspace.resolve(reference)
        model_id = located.name if located.version is None else reference
        if model_id in places:
            raise UsageError(
                f"two models would be called `{model_id}`",
                where=f"{places[model_id]}, {reference}",
                hint="publish one under another name: bowerbird publish MODEL NAME",
            )
        places[model_id] = reference
    return {
        model_id: lifecycle.load(reference, workspace=workspace, signed_by=key)
        for model_id, reference in places.items()
    }


_ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("completions", {"prompt": "The ", "max_tokens": 200}),
    "melody": ("melodies/generations", {"bars": 8}),
    "image": ("images/generations", {"prompt": "", "n": 1}),
}
"""By kind: where to ask, and what."""


def _tell(output: Output, url: str, models: Mapping[str, Any]) -> None:
    if output.json:
        show.result(output, {"url": url, "models": list(models)})
    first = next(iter(models))
    path, asked = _ASKED[models[first].kind.name]
    body = json.dumps({"model": first, **asked}, ensure_ascii=False)
    asking = f"curl {url}/v1/{path} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    show.note(output, f"serving {', '.join(models)} at {url} (open it in a browser)")
    show.note(output, f"ask: {asking}")
    show.note(output, "stop: Ctrl-C")


def add(app: App) -> None:
    app.command(serve)
