"""What `serve` does once it has been told what to serve: answer in this process, or in several that it looks after."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bowerbird.cli import show
from bowerbird.cli.events import Recorded, recording
from bowerbird.cli.making import space
from bowerbird.cli.operating import Guards, Operating
from bowerbird.cli.options import Output

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model
    from bowerbird.serving.exchange import Listener
    from bowerbird.serving.serve_config import ServeConfig
    from bowerbird.workspace import Workspace

Kinds = Mapping[str, str]
"""What each model id stands for: text, melody or image."""


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
    recorded: Recorded
    output: Output


def answer(
    plan: Plan,
    bound: socket.socket,
    metrics_bound: socket.socket | None = None,
    *,
    on_ready: Callable[[Kinds], None],
) -> None:
    """Load the models and answer on a socket until it is asked to stop."""
    from bowerbird.serving.app import create_app
    from bowerbird.serving.challenger import ChallengerWatch
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
    with ExitStack() as ends:
        listeners = ends.enter_context(_listeners(options))
        keys = KeyRing(guards.keys) if guards.keys else None
        metrics = Metrics()
        workspace = space(plan.output)
        load = partial(_load, workspace, plan.require_signature, metrics.versions)
        models = {name: load(reference) for name, reference in plan.models.items()}
        kinds = {name: model.kind.name for name, model in models.items()}
        sessions = SessionStore(plan.sessions, **plan.config.sessions.model_dump())
        ends.callback(sessions.close)
        sink = ends.enter_context(recording(plan.recorded, plan.config.events, workspace))
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
            sink=sink,
        )
        app.state.exchanges.listeners[:0] = listeners
        ends.enter_context(AliasWatch(app.state.engine, plan.models, load, workspace=workspace))
        watched = (app.state.engine, app.state.served.challengers, plan.models, load)
        ends.enter_context(ChallengerWatch(*watched, workspace=workspace))
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


def answer_in_workers(
    plan: Plan,
    bound: socket.socket,
    metrics_bound: socket.socket | None,
    *,
    on_ready: Callable[[Kinds], None],
) -> None:
    """`answer` in several processes, on one socket, until this one is asked to stop."""
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
        supervisor.run(on_ready)


def work(plan: Plan, bound: socket.socket, *, on_ready: Callable[[Kinds], None]) -> None:
    """`answer` as a worker process does it."""
    show.log_to_stderr()
    with bound:
        answer(plan, bound, on_ready=on_ready)


@contextmanager
def _listeners(options: Operating) -> Iterator[list[Listener]]:
    """Those that write the access log and spans of requests, as far as they are asked for, while inside.

    Raises:
        StorageError: the access log cannot be written.
    """
    from bowerbird.serving.access import AccessLog
    from bowerbird.serving.tracing import Tracing

    with ExitStack() as ends:
        listeners: list[Listener] = []
        if options.traces:
            tracing = Tracing()
            ends.callback(tracing.close)
            listeners.append(tracing)  # first: it tells the log the id of its trace
        if options.access_log is not None:
            to_stderr = str(options.access_log) == "-"
            access = AccessLog(None if to_stderr else options.access_log.expanduser())
            ends.callback(access.close)
            listeners.append(access)
        yield listeners


def _load(workspace: Workspace, key: Path | None, versions: dict[str, str], reference: str) -> Model:
    """A model; of a published one its version is noted by its digest, for the metrics."""
    from bowerbird import lifecycle

    published = workspace.resolve(reference).published
    if published is not None:
        versions[published.digest] = str(published.version)
    return lifecycle.load(reference, workspace=workspace, signed_by=key)
