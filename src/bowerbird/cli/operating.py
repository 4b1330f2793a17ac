"""Options of `serve` for whoever operates it: how much, how many, what is logged and measured."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bowerbird.base.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from bowerbird.serving.exchange import Listener


@Parameter(name="*")
@dataclass(frozen=True)
class Operating:
    """How a server runs."""

    slots: int = 256
    """Samples of one model made at the same time."""
    queue: int = 1024
    """Samples of one model that may wait; beyond it the answer is 429."""
    workers: int = 1
    """Processes that answer on the one port, each with the models in its own memory; they share the sessions."""
    drain_seconds: float = 10.0
    """What running answers are given to end, at SIGTERM or Ctrl-C."""
    access_log: Path | None = None
    """A file for one JSON line a request; - is stderr."""
    metrics_port: int | None = None
    """A port of its own for /metrics, which needs no key there; 0 takes any that is free."""
    metrics_host: str = "127.0.0.1"
    """The address of that port."""
    trace: Annotated[bool, Parameter(negative="")] = False
    """Send spans to OpenTelemetry's collector at OTEL_EXPORTER_OTLP_ENDPOINT, which by itself also turns this on."""

    def check(self) -> None:
        """Raises:
        UsageError: a number is out of its range, or two options do not go together.
        MissingExtra: what is asked for needs packages that are not here.
        """
        bounds = {
            "slots": (1, 1024),
            "queue": (1, 1_000_000),
            "workers": (1, 64),
            "drain_seconds": (0, 3600),
        }
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{option} {getattr(self, name)} is out of range", hint=f"{least} to {most:,}"
                )
        if self.workers > 1 and sys.platform == "win32":
            raise UsageError("several workers need a POSIX system", hint="--workers 1")
        if self.metrics_port is None and self.metrics_host != Operating.metrics_host:
            raise UsageError("--metrics-host is of no use without --metrics-port")
        if self.traces:
            from bowerbird.serving.tracing import check_installed

            check_installed()

    @property
    def traces(self) -> bool:
        from bowerbird.serving.tracing import is_configured

        return self.trace or is_configured()


OPERATING = Operating()


@contextmanager
def listening(app: FastAPI, options: Operating) -> Iterator[None]:
    """While inside, an access log and spans are written of the app's requests, as far as they are asked for."""
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
        app.state.exchanges.listeners[:0] = listeners
        yield
