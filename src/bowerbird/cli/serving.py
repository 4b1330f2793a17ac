"""The command that answers: serve."""

from __future__ import annotations

import json
import os
import shlex
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.operating import OPERATING, Operating, listening
from bowerbird.cli.options import OUTPUT, SETTINGS, Output, Settings

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model
    from bowerbird.serving.serve_config import ServeConfig
    from bowerbird.workspace import Workspace

Kinds = Mapping[str, str]
"""What each model id stands for: text, melody or image."""


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


@dataclass(frozen=True)
class Plan:
    """What was typed at the command line, as a worker process is told of it."""

    models: Mapping[str, str]
    """References by the id that they are asked for by."""
    require_signature: Path | None
    guards: Guards
    config: ServeConfig
    sessions: Path
    """The folder that they are kept in."""
    operating: Operating
    output: Output


def serve(
    *model: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    require_signature: Path | None = None,
    sessions: Path | None = None,
    guards: Guards = GUARDS,
    operating: Operating = OPERATING,
    settings: Settings = SETTINGS,
    output: Output = OUTPUT,
) -> None:
    """Answer requests with models, over HTTP as OpenAI's API does, until Ctrl-C.

    Example: bowerbird serve poems@live --port 8000

    With --json one object, {"url", "models"}, is printed once it is ready; with --metrics-port it has "metrics" too.
    How large, how long and how often requests may be is set by --set limits.body_bytes, limits.prompt_tokens,
    limits.output_tokens, limits.request_seconds, limits.requests_per_minute, limits.concurrent, limits.connections,
    limits.head_seconds, limits.body_seconds and limits.write_seconds; how many sessions are kept, and for how long,
    by sessions.most, sessions.most_age_seconds, sessions.most_bytes and sessions.most_memory_bytes.

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
    from bowerbird.serving.guards import is_loopback
    from bowerbird.serving.origins import Origins
    from bowerbird.serving.serve_config import ServeConfig
    from bowerbird.serving.server import check_installed, listen, url_of
    from bowerbird.serving.tls import tls_context

    check_installed()
    operating.check()
    config = resolve(ServeConfig, config_file=settings.config, settings=settings.set)
    tls = tls_context(guards.tls_cert, guards.tls_key) is not None
    _check_keys(guards, output)
    Origins(guards.allow_origin)
    keys = guards.keys is not None
    with ExitStack() as ends:
        bound = ends.enter_context(listen(host, port, keys=keys))
        kept_in = (sessions or space(output).root / "sessions").expanduser()
        named = _named(model, output)
        plan = Plan(named, require_signature, guards, config, kept_in, operating, output)
        if keys and not tls and not is_loopback(host):
            show.warn(
                output, "keys and texts travel readable: give --tls-cert and --tls-key, or put TLS in front"
            )
        metrics = None
        if operating.metrics_port is not None:
            metrics = ends.enter_context(listen(operating.metrics_host, operating.metrics_port, keys=keys))
        tell = partial(
            _tell, output, url_of(bound, tls=tls), f"{url_of(metrics)}/metrics" if metrics else None, guards
        )
        if operating.workers == 1:
            answer(plan, bound, metrics, on_ready=tell)
        else:
            _supervise(plan, bound, metrics, tell)
    show.note(output, "stopped")


def answer(
    plan: Plan,
    bound: socket.socket,
    metrics_bound: socket.socket | None = None,
    *,
    on_ready: Callable[[Kinds], None],
) -> None:
    """Load the models and answer on a socket until it is asked to stop."""
    from bowerbird.serving.app import create_app
    from bowerbird.serving.connections import BACKLOG
    from bowerbird.serving.keys import KeyRing
    from bowerbird.serving.metrics import Metrics
    from bowerbird.serving.metrics_port import metrics_on
    from bowerbird.serving.origins import Origins
    from bowerbird.serving.server import run
    from bowerbird.serving.sessions import SessionStore
    from bowerbird.serving.swapping import AliasWatch
    from bowerbird.serving.tls import tls_context
    from bowerbird.serving.workers import TAKEN_AT_ONCE

    guards, options = plan.guards, plan.operating
    keys = KeyRing(guards.keys) if guards.keys else None
    metrics = Metrics()
    workspace = space(plan.output)
    load = partial(_load, workspace, plan.require_signature, metrics.versions)
    models = {name: load(reference) for name, reference in plan.models.items()}
    kinds = {name: model.kind.name for name, model in models.items()}
    with ExitStack() as ends:
        sessions = SessionStore(plan.sessions, **plan.config.sessions.model_dump())
        ends.callback(sessions.close)
        app = create_app(
            models,
            slots=options.slots,
            queue=options.queue,
            local=keys is None,
            keys=keys,
            limits=plan.config.limits,
            origins=Origins(guards.allow_origin),
            sessions=sessions,
            observer=metrics,
            feedback=workspace.root / "feedback",
        )
        ends.enter_context(AliasWatch(app.state.engine, plan.models, load, workspace=workspace))
        ends.enter_context(listening(app, options))
        if metrics_bound is not None:
            ends.enter_context(metrics_on(metrics_bound, metrics.text))
        if options.workers > 1:
            metrics.keep_fresh()
        run(
            app,
            bound,
            on_ready=lambda: on_ready(kinds),
            drain_seconds=options.drain_seconds,
            limits=plan.config.limits,
            tls=tls_context(guards.tls_cert, guards.tls_key),
            taken_at_once=TAKEN_AT_ONCE if options.workers > 1 else BACKLOG,
        )


def work(plan: Plan, bound: socket.socket, *, on_ready: Callable[[Kinds], None]) -> None:
    """`answer` as a worker process does it."""
    show.log_to_stderr()
    with bound:
        answer(plan, bound, on_ready=on_ready)


def _supervise(
    plan: Plan, bound: socket.socket, metrics_bound: socket.socket | None, tell: Callable[[Kinds], None]
) -> None:
    from bowerbird.serving.metrics import MULTIPROC, forget_worker, text_of_workers
    from bowerbird.serving.metrics_port import metrics_on
    from bowerbird.serving.workers import Supervisor, cores, environment

    count = plan.operating.workers
    with ExitStack() as ends:
        folder = ends.enter_context(TemporaryDirectory(prefix="bowerbird-metrics-"))
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // count))
        ends.enter_context(environment(**{MULTIPROC: folder, "OMP_NUM_THREADS": threads}))
        if metrics_bound is not None:
            ends.enter_context(metrics_on(metrics_bound, text_of_workers))
        supervisor = Supervisor(
            count,
            work,
            (plan, bound),
            drain_seconds=plan.operating.drain_seconds,
            on_death=partial(forget_worker, folder),
        )
        supervisor.run(tell)


def _check_keys(guards: Guards, output: Output) -> None:
    """Read the keys once, so that a wrong file is noticed now."""
    from bowerbird.base.errors import NotFound
    from bowerbird.serving.keys import KeyRing

    if guards.keys is None:
        return
    ring = KeyRing(guards.keys)
    if not ring.path.exists():
        raise NotFound(
            "there is no file of keys here",
            where=ring.path,
            hint=f"bowerbird keys new NAME --keys {guards.keys}",
        )
    if not any(key.state == "valid" for key in ring.keys):
        show.warn(output, f"nobody may ask yet: bowerbird keys new NAME --keys {guards.keys}")


def _named(references: tuple[str, ...], output: Output) -> dict[str, str]:
    """References by id: the reference itself for a published model, the folder's name for a path."""
    from bowerbird.base.errors import UsageError

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


def _load(workspace: Workspace, key: Path | None, versions: dict[str, str], reference: str) -> Model:
    """A model; of a published one its version is noted by its digest, for the metrics."""
    from bowerbird import lifecycle

    published = workspace.resolve(reference).published
    if published is not None:
        versions[published.digest] = str(published.version)
    return lifecycle.load(reference, workspace=workspace, signed_by=key)


_ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("completions", {"prompt": "The ", "max_tokens": 200}),
    "melody": ("melodies/generations", {"bars": 8}),
    "image": ("images/generations", {"prompt": "", "n": 1}),
}
"""By kind: where to ask, and what."""


def _tell(output: Output, url: str, metrics_url: str | None, guards: Guards, kinds: Kinds) -> None:
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
    show.note(output, "stop: Ctrl-C")
    tell_service_manager("READY=1")


def add(app: App) -> None:
    app.command(serve)
