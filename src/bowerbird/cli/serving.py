"""The command that answers: serve."""

from __future__ import annotations

import json
import shlex
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from bowerbird.base.errors import UsageError
from bowerbird.cli import show
from bowerbird.cli.events import RECORDED, Recorded, told_at_start
from bowerbird.cli.making import space
from bowerbird.cli.operating import GUARDS, OPERATING, Guards, Operating
from bowerbird.cli.options import OUTPUT, SETTINGS, Output, Settings

if TYPE_CHECKING:
    from bowerbird.cli.answering import Kinds


def serve(
    *model: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    require_signature: Path | None = None,
    sessions: Path | None = None,
    guards: Guards = GUARDS,
    operating: Operating = OPERATING,
    recorded: Recorded = RECORDED,
    settings: Settings = SETTINGS,
    output: Output = OUTPUT,
) -> None:
    """Answer requests with models, over HTTP as OpenAI's API does, until Ctrl-C.

    Example: bowerbird serve poems@live --port 8000

    With --json one object, {"url", "models"}, is printed once it is ready; with --metrics-port it has "metrics" too.
    How large, how long and how often requests may be is set by --set limits.body_bytes, limits.prompt_tokens,
    limits.output_tokens, limits.request_seconds, limits.requests_per_minute, limits.concurrent, limits.connections,
    limits.head_seconds, limits.body_seconds and limits.write_seconds; how many sessions are kept, and for how long,
    by sessions.most, sessions.most_age_seconds, sessions.most_bytes and sessions.most_memory_bytes; what is recorded of
    requests, and for how long, by events.share, events.mask, events.most_age_days and events.most_bytes.

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
    sessions
        A folder for the states of sessions, which servers may share; by default one in the workspace.
    """
    from bowerbird.base.config import resolve
    from bowerbird.cli.answering import Plan, answer, answer_in_workers
    from bowerbird.serving.serve_config import ServeConfig
    from bowerbird.serving.server import check_installed, listen, url_of

    check_installed()
    operating.check()
    config = resolve(ServeConfig, config_file=settings.config, settings=settings.set)
    guards.check(host, output)
    keys = guards.keys is not None
    with ExitStack() as ends:
        bound = ends.enter_context(listen(host, port, keys=keys))
        kept_in = (sessions or space(output).root / "sessions").expanduser()
        named = _named(model, output)
        plan = Plan(named, require_signature, guards, config, kept_in, operating, recorded, output)
        metrics = None
        if operating.metrics_port is not None:
            taken = listen(operating.metrics_host, operating.metrics_port, keys=keys, option="metrics-")
            metrics = ends.enter_context(taken)
        url = url_of(bound, tls=guards.tls_cert is not None)
        kept = told_at_start(recorded, config.events, space(output))
        tell = partial(_tell, output, url, f"{url_of(metrics)}/metrics" if metrics else None, guards, kept)
        (answer if operating.workers == 1 else answer_in_workers)(plan, bound, metrics, on_ready=tell)
    show.note(output, "stopped")


def _named(references: tuple[str, ...], output: Output) -> dict[str, str]:
    """References by id: the reference itself for a published model, the folder's name for a path."""
    if not references:
        raise UsageError("name at least one model", hint="bowerbird serve poems@live")
    workspace = space(output)
    named: dict[str, str] = {}
    for reference in references:
        located = workspace.resolve(reference)
        model_id = located.name if located.version is None else reference
        if model_id in named:
            raise UsageError(
                f"two models would be called `{model_id}`",
                where=f"{named[model_id]}, {reference}",
                hint="publish one under another name: bowerbird publish MODEL NAME",
            )
        named[model_id] = reference
    return named


_ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("completions", {"prompt": "The ", "max_tokens": 200}),
    "melody": ("melodies/generations", {"bars": 8}),
    "image": ("images/generations", {"prompt": "", "n": 1}),
}
"""By kind: where to ask, and what."""


def _tell(output: Output, url: str, metrics_url: str | None, guards: Guards, kept: str, kinds: Kinds) -> None:
    from bowerbird.serving.notify import tell_service_manager

    if output.json:
        told = {"url": url, "models": list(kinds)}
        show.result(output, {**told, "metrics": metrics_url} if metrics_url else told)
    first = next(iter(kinds))
    path, asked = _ASKED[kinds[first]]
    body = json.dumps({"model": first, **asked}, ensure_ascii=False)
    key = " -H 'Authorization: Bearer YOUR_KEY'" if guards.keys else ""
    trust = f" --cacert {shlex.quote(str(guards.tls_cert))}" if guards.tls_cert else ""
    said = f"-H 'Content-Type: application/json'{key}{trust} -d {shlex.quote(body)}"
    show.note(output, f"serving {', '.join(kinds)} at {url} (open it in a browser)")
    show.note(output, f"ask: curl {url}/v1/{path} {said}")
    if metrics_url:
        show.note(output, f"metrics: {metrics_url}")
    show.note(output, kept)
    show.note(output, "stop: Ctrl-C")
    tell_service_manager("READY=1")


def add(app: App) -> None:
    app.command(serve)
