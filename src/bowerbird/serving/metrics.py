"""What Prometheus is told: what the engine does, how requests end, and what the process takes.

With `PROMETHEUS_MULTIPROC_DIR` set before this process imports the client, as the supervisor of workers does,
every process writes its numbers into files of that folder, and any of them can answer for all.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bowerbird.base.errors import MissingExtra
from bowerbird.serving.exchange import Exchange
from bowerbird.serving.sink import EventSink

if TYPE_CHECKING:
    from bowerbird.serving.engine import Engine

MULTIPROC = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FIRST_TOKEN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PER_TOKEN = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_REQUEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_STREAMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The engine's observer and a listener of exchanges, with a registry of its own.

    Raises:
        MissingExtra: prometheus-client is not installed.
    """

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise MissingExtra("metrics", "serve") from error
        self._shared = MULTIPROC in os.environ
        self._registry = CollectorRegistry()
        self._engine: Engine | None = None
        self._sink: EventSink | None = None
        self._recorded: dict[str, int] = {}
        self._told_of: dict[str, tuple[str, ...]] = {}
        self.versions: dict[str, str] = {}
        """The registry's version numbers by digest, for `model_info`; of other models there is none."""
        self._turn = threading.Lock()

        def counter(name: str, help_: str, *labels: str) -> Any:
            return Counter(f"bowerbird_{name}", help_, labels, registry=self._registry)

        def histogram(name: str, help_: str, buckets: Iterable[float], *labels: str) -> Any:
            return Histogram(
                f"bowerbird_{name}", help_, labels, buckets=tuple(buckets), registry=self._registry
            )

        def gauge(name: str, help_: str, *labels: str) -> Any:
            return Gauge(
                f"bowerbird_{name}", help_, labels, registry=self._registry, multiprocess_mode="livesum"
            )

        self._requests = counter(
            "requests_total",
            "Requests answered, by path template and HTTP status.",
            "model",
            "path",
            "status",
        )
        self._request_seconds = histogram(
            "request_duration_seconds", "From a request to the last byte of its answer.", _REQUEST, "path"
        )
        self._errors = counter(
            "errors_total", "Answers that were an error or ended with one, by its code.", "code"
        )
        self._tokens = counter(
            "tokens_total", "Tokens read (prompt) and made (completion).", "model", "direction"
        )
        self._events = counter(
            "events_total",
            "Records of requests: written, dropped since too many waited, or failed to be written.",
            "outcome",
        )
        self._samples = counter("samples_total", "Samples that ended, by why they did.", "model", "reason")
        self._queue_seconds = histogram(
            "time_in_queue_seconds", "From asking for a sample to its slot.", _FIRST_TOKEN, "model"
        )
        self._first_token = histogram(
            "time_to_first_token_seconds",
            "From asking for a sample to its first content.",
            _FIRST_TOKEN,
            "model",
        )
        self._per_token = histogram(
            "time_per_token_seconds",
            "What each stream of a turn waited for a token of it.",
            _PER_TOKEN,
            "model",
        )
        self._batch = histogram("batch_size", "Samples that took a turn together.", _STREAMS, "model")
        self._queue = gauge("queue_length", "Samples that wait for a slot.", "model")
        self._slots = gauge("slots_used", "Samples in slots.", "model")
        self._memory = gauge(
            "resident_memory_bytes", "Physical memory of the server; of all workers together."
        )
        self._info = Gauge(
            "bowerbird_model_info",
            "1 for what each model id stands for now, by digest and version in the registry; 0 for what it was before.",
            ("model", "digest", "version"),
            registry=self._registry,
            multiprocess_mode="livemax",
        )

    def follow(self, engine: Engine, sink: EventSink | None = None) -> None:
        """Ask this engine for its queues and slots, and what keeps events for its counts, whenever they are wanted."""
        self._engine = engine
        self._sink = sink

    def keep_fresh(self, every_seconds: float = 5.0) -> None:
        """Go on writing the gauges from a thread, so that another process's answer has them."""

        def run() -> None:
            while True:
                self.refresh()
                threading.Event().wait(every_seconds)

        threading.Thread(target=run, name="bowerbird metrics", daemon=True).start()

    # The engine's observer.

    def queued(self, model_id: str, owner: str) -> None:
        """Nothing to count: how many wait is asked when it is wanted."""

    def started(self, model_id: str, waited_seconds: float) -> None:
        self._queue_seconds.labels(model_id).observe(waited_seconds)

    def first_token(self, model_id: str, seconds: float) -> None:
        self._first_token.labels(model_id).observe(seconds)

    def stepped(self, model_id: str, streams: int, tokens: int, seconds: float) -> None:
        if streams:
            self._batch.labels(model_id).observe(streams)
        if tokens:
            self._tokens.labels(model_id, "completion").inc(tokens)
            self._per_token.labels(model_id).observe(seconds * streams / tokens)

    def ended(self, model_id: str, reason: str, tokens: int, seconds: float) -> None:
        self._samples.labels(model_id, reason).inc()

    def failed(self, model_id: str, error_code: str) -> None:
        self._samples.labels(model_id, "failed").inc()

    # A listener of exchanges.

    def __call__(self, exchange: Exchange) -> None:
        known = self._engine is None or exchange.model in self._engine.models
        model = exchange.model if known else ""
        self._requests.labels(model, exchange.path, str(exchange.status)).inc()
        self._request_seconds.labels(exchange.path).observe(exchange.seconds)
        if exchange.code:
            self._errors.labels(exchange.code).inc()
        if exchange.prompt_tokens:
            self._tokens.labels(model, "prompt").inc(exchange.prompt_tokens)

    def refresh(self) -> None:
        """Set the gauges to what is so now."""
        with self._turn:
            self._memory.set(resident_bytes())
            if self._sink is not None:
                for outcome, count in self._sink.counts().items():
                    self._events.labels(outcome).inc(count - self._recorded.get(outcome, 0))
                    self._recorded[outcome] = count
            if self._engine is None:
                return
            models = dict(self._engine.models)
            for model_id, model in models.items():
                used, waiting = self._engine.load(model_id)
                self._slots.labels(model_id).set(used)
                self._queue.labels(model_id).set(waiting)
                self._tell_of(model_id, (model_id, model.digest, self.versions.get(model.digest, "")))
            for model_id in self._told_of.keys() - models.keys():
                self._info.labels(*self._told_of.pop(model_id)).set(0)
                self._slots.labels(model_id).set(0)
                self._queue.labels(model_id).set(0)

    def text(self) -> bytes:
        """All numbers in Prometheus' text format (`CONTENT_TYPE`)."""
        self.refresh()
        return _text(self._shared, self._registry)

    def _tell_of(self, model_id: str, now: tuple[str, ...]) -> None:
        before = self._told_of.get(model_id)
        if before == now:
            return
        if before is not None:
            self._info.labels(*before).set(0)
        self._info.labels(*now).set(1)
        self._told_of[model_id] = now


def text_of_workers() -> bytes:
    """The numbers of all workers that share this process's `PROMETHEUS_MULTIPROC_DIR`."""
    return _text(True, None)


def forget_worker(folder: str, pid: int) -> None:
    """Let the gauges of a worker that has ended count no more; what it counted stays."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]


def resident_bytes() -> int:
    """Physical memory of this process; the most it ever had where the system does not tell of now."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _text(shared: bool, registry: Any) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest, multiprocess

    if shared:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(_Lasting(registry))


class _Lasting:
    """A registry without when each count began: of several processes that is not known."""

    def __init__(self, registry: Any):
        self._registry = registry

    def collect(self) -> Iterator[Any]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
