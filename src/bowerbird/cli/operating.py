"""Options of `serve` for whoever operates it: who may ask, how much at once, what is logged and measured."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bowerbird.base.errors import NotFound, UsageError
from bowerbird.cli import show
from bowerbird.cli.options import Output


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

    def check(self, host: str, output: Output) -> None:
        """Read what they name once, so that a wrong file is noticed now; warn of what is seldom meant.

        Raises:
            UsageError, NotFound, CorruptFile, Refused: an origin is none, or a file is not there or cannot be used.
        """
        from bowerbird.serving.guards import is_loopback
        from bowerbird.serving.keys import KeyRing
        from bowerbird.serving.origins import Origins
        from bowerbird.serving.tls import tls_context

        tls = tls_context(self.tls_cert, self.tls_key)
        Origins(self.allow_origin)
        if self.keys is None:
            return
        ring = KeyRing(self.keys)
        if not ring.path.exists():
            raise NotFound(
                "there is no file of keys here",
                where=ring.path,
                hint=f"bowerbird keys new NAME --keys {self.keys}",
            )
        if not any(key.state == "valid" for key in ring.keys):
            show.warn(output, f"nobody may ask yet: bowerbird keys new NAME --keys {self.keys}")
        if tls is None and not is_loopback(host):
            show.warn(
                output, "keys and texts travel readable: give --tls-cert and --tls-key, or put TLS in front"
            )


@Parameter(name="*")
@dataclass(frozen=True)
class Operating:
    """How a server runs."""

    slots: int = 256
    """Samples of one model made at the same time."""
    queue: int = 1024
    """Samples of one model that may wait; beyond it the answer is 429."""
    workers: int = 1
    """Processes that answer on the one port, each with the models in its own memory; they share the sessions. Slots,
    queue and limits are counted in each: N let through up to N times as much."""
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
            raise UsageError("--metrics-host is of no use without --metrics-port", hint="--metrics-port 9100")
        if self.traces:
            from bowerbird.serving.tracing import check_installed

            check_installed()

    @property
    def traces(self) -> bool:
        from bowerbird.serving.tracing import is_configured

        return self.trace or is_configured()


GUARDS = Guards()
OPERATING = Operating()
