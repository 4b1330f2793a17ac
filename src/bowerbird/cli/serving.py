"""The command that answers: serve."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.options import OUTPUT, SETTINGS, Output, Settings

if TYPE_CHECKING:
    from bowerbird.serving.keys import KeyRing


@Parameter(name="*")
@dataclass(frozen=True)
class Guards:
    """Who may ask, and how they reach the server."""

    keys: Path | None = None
    """A file of keys, made by `bowerbird keys new`: only who has one may ask, from anywhere."""
    allow_origin: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """A web page's origin, as https://example.org, that may ask too; may be given many times."""
    tls_cert: Path | None = None
    """A certificate with its chain, in PEM form: the server speaks HTTPS."""
    tls_key: Path | None = None
    """Its private key."""


GUARDS = Guards()


def serve(
    *model: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    require_signature: Path | None = None,
    guards: Guards = GUARDS,
    settings: Settings = SETTINGS,
    output: Output = OUTPUT,
) -> None:
    """Answer requests with models, over HTTP as OpenAI's API does, until Ctrl-C.

    Example: bowerbird serve poems@live --port 8000

    With --json one object, {"url", "models"}, is printed once it is ready. How large, how long and how often
    requests may be is set by --set limits.body_bytes, limits.prompt_tokens, limits.output_tokens,
    limits.request_seconds, limits.requests_per_minute, limits.concurrent, limits.connections,
    limits.head_seconds, limits.body_seconds and limits.write_seconds.

    Parameters
    ----------
    model
        Runs, bundles or names as poems, poems@live; each is asked for by this name, a folder by its own.
    host
        An address of this machine: 127.0.0.1, ::1 or localhost; with --keys any, 0.0.0.0 for all.
    port
        The port; 0 takes any that is free.
    require_signature
        A file of a public key; nothing is served unless its owner signed every model.
    """
    from bowerbird.base.config import resolve
    from bowerbird.serving.app import create_app
    from bowerbird.serving.guards import is_loopback
    from bowerbird.serving.origins import Origins
    from bowerbird.serving.serve_config import ServeConfig
    from bowerbird.serving.server import check_installed, listen, run, url_of
    from bowerbird.serving.tls import tls_context

    check_installed()
    limits = resolve(ServeConfig, config_file=settings.config, settings=settings.set).limits
    origins = Origins(guards.allow_origin)
    tls = tls_context(guards.tls_cert, guards.tls_key)
    keys = _keys(guards, output)
    bound = listen(host, port, keys=keys is not None)
    with bound:
        models = _loaded(model, require_signature, output)
        app = create_app(models, local=keys is None, keys=keys, limits=limits, origins=origins)
        url = url_of(bound, tls=tls is not None)
        if keys is not None and tls is None and not is_loopback(host):
            show.warn(
                output, "keys and texts travel readable: give --tls-cert and --tls-key, or put TLS in front"
            )
        run(
            app,
            bound,
            limits=limits,
            tls=tls,
            on_ready=lambda: _tell(output, url, app.state.engine.models, guards),
        )
    show.note(output, "stopped")


def _keys(guards: Guards, output: Output) -> KeyRing | None:
    """The keys that were asked for, read once, so that a wrong file is noticed now."""
    from bowerbird.base.errors import NotFound
    from bowerbird.serving.keys import KeyRing

    if guards.keys is None:
        return None
    ring = KeyRing(guards.keys)
    if not ring.path.exists():
        raise NotFound(
            "there is no file of keys here",
            where=ring.path,
            hint=f"bowerbird keys new NAME --keys {guards.keys}",
        )
    if not any(key.state == "valid" for key in ring.keys):
        show.warn(output, f"nobody may ask yet: bowerbird keys new NAME --keys {guards.keys}")
    return ring


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


def _tell(output: Output, url: str, models: Mapping[str, Any], guards: Guards) -> None:
    if output.json:
        show.result(output, {"url": url, "models": list(models)})
    first = next(iter(models))
    path, asked = _ASKED[models[first].kind.name]
    body = json.dumps({"model": first, **asked}, ensure_ascii=False)
    key = " -H 'Authorization: Bearer YOUR_KEY'" if guards.keys else ""
    trust = f" --cacert {shlex.quote(str(guards.tls_cert))}" if guards.tls_cert else ""
    said = f"-H 'Content-Type: application/json'{key}{trust} -d {shlex.quote(body)}"
    show.note(output, f"serving {', '.join(models)} at {url} (open it in a browser)")
    show.note(output, f"ask: curl {url}/v1/{path} {said}")
    show.note(output, "stop: Ctrl-C")


def add(app: App) -> None:
    app.command(serve)
