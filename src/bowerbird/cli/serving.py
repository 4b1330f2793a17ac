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
from typing import Any

from cyclopts import App

from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.operating import OPERATING, Operating, listening
from bowerbird.cli.options import OUTPUT, Output

Kinds = Mapping[str, str]
"""What each model id stands for: text, melody or image."""


@dataclass(frozen=True)
class Plan:
    """What is typed at the command line, as a worker process is told of it."""

    models: Mapping[str, str]
    """References by the id that they are asked for by."""
    require_signature: Path | None
    operating: Operating
    output: Output


def serve(
    *model: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    require_signature: Path | None = None,
    operating: Operating = OPERATING,
    output: Output = OUTPUT,
) -> None:
    """Answer requests with models, over HTTP as OpenAI's API does, until Ctrl-C.

    Example: bowerbird serve poems@live --port 8000

    With --json one object, {"url", "models"}, is printed once it is ready; with --metrics-port it has "metrics" too.

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
    from bowerbird.serving.server import check_installed, listen, url_of

    check_installed()
    operating.check()
    with ExitStack() as ends:
        bound = ends.enter_context(listen(host, port))
        plan = Plan(_named(model, output), require_signature, operating, output)
        metrics = None
        if operating.metrics_port is not None:
            metrics = ends.enter_context(listen(operating.metrics_host, operating.metrics_port))
        tell = partial(_tell, output, url_of(bound), f"{url_of(metrics)}/metrics" if metrics else None)
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
    from bowerbird.serving.metrics import Metrics
    from bowerbird.serving.metrics_port import metrics_on
    from bowerbird.serving.server import BACKLOG, run
    from bowerbird.serving.workers import TAKEN_AT_ONCE

    options = plan.operating
    metrics = Metrics()
    models = {name: _load(reference, plan, metrics) for name, reference in plan.models.items()}
    app = create_app(models, slots=options.slots, queue=options.queue, local=True, observer=metrics)
    kinds = {name: model.kind.name for name, model in models.items()}
    with ExitStack() as ends:
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
            backlog=TAKEN_AT_ONCE if options.workers > 1 else BACKLOG,
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


def _load(reference: str, plan: Plan, metrics: Any) -> Any:
    """A model, whose version in the registry, if it has one, the metrics are told."""
    from bowerbird import lifecycle

    workspace = space(plan.output)
    published = workspace.resolve(reference).published
    if published is not None:
        metrics.versions[published.digest] = str(published.version)
    return lifecycle.load(reference, workspace=workspace, signed_by=plan.require_signature)


_ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("completions", {"prompt": "The ", "max_tokens": 200}),
    "melody": ("melodies/generations", {"bars": 8}),
    "image": ("images/generations", {"prompt": "", "n": 1}),
}
"""By kind: where to ask, and what."""


def _tell(output: Output, url: str, metrics_url: str | None, kinds: Kinds) -> None:
    from bowerbird.serving.notify import tell_service_manager

    if output.json:
        told = {"url": url, "models": list(kinds)}
        show.result(output, {**told, "metrics": metrics_url} if metrics_url else told)
    first = next(iter(kinds))
    path, asked = _ASKED[kinds[first]]
    body = json.dumps({"model": first, **asked}, ensure_ascii=False)
    asking = f"curl {url}/v1/{path} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    show.note(output, f"serving {', '.join(kinds)} at {url} (open it in a browser)")
    show.note(output, f"ask: {asking}")
    if metrics_url:
        show.note(output, f"metrics: {metrics_url}")
    show.note(output, "stop: Ctrl-C")
    tell_service_manager("READY=1")


def add(app: App) -> None:
    app.command(serve)
