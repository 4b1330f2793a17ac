"""A span of OpenTelemetry for each request, sent to a collector, where that is configured.

A span is made once its request has ended, with the times it had; what it came from is in `traceparent`.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from bowerbird import __version__
from bowerbird.base.errors import MissingExtra
from bowerbird.serving.exchange import UNKNOWN_PATH, Exchange

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_QUIET = ("/health", "/ready", "/metrics")
"""Asked every few seconds by machines: no spans of these."""
_LAST_SECONDS = 3.0
"""A collector that cannot be reached holds up the end no longer than this: longer than one attempt takes."""


def is_configured() -> bool:
    """Whether the environment names a collector, in OpenTelemetry's own variables."""
    return any(os.environ.get(name) for name in ENDPOINTS)


def check_installed() -> None:
    """Raises `MissingExtra` where the packages that trace are not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: F401
        from opentelemetry.sdk import trace  # noqa: F401
    except ImportError as error:
        raise MissingExtra("tracing", "monitor") from error


class Tracing:
    """A listener of exchanges. Sampler, headers, limits and the like come from OpenTelemetry's variables.

    Args:
        exporter: where spans go; None is OTLP over HTTP, to the endpoint that the environment names, or else to
            the standard's own, `http://localhost:4318`.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """

    def __init__(self, exporter: SpanExporter | None = None):
        try:
            from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            exporter = exporter or _otlp()
        except ImportError as error:
            raise MissingExtra("tracing", "monitor") from error
        named = Resource.create()
        if str(named.attributes[SERVICE_NAME]).startswith("unknown_service"):
            named = named.merge(Resource({SERVICE_NAME: "bowerbird"}))
        resource = Resource({SERVICE_VERSION: __version__}).merge(named)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("bowerbird", __version__)

    def __call__(self, exchange: Exchange) -> None:
        """Make the span, and tell the exchange its trace, for the log."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        if exchange.path in _QUIET:
            return
        known = exchange.path != UNKNOWN_PATH
        began = int(exchange.began * 1e9)
        span = self._tracer.start_span(
            f"{exchange.method} {exchange.path}" if known else exchange.method,
            context=TraceContextTextMapPropagator().extract({"traceparent": exchange.trace_parent}),
            kind=SpanKind.SERVER,
            attributes=_attributes(exchange),
            start_time=began,
        )
        if exchange.status >= 500 or (exchange.status < 400 and exchange.code):
            span.set_status(Status(StatusCode.ERROR, exchange.code))
        span.end(began + int(exchange.seconds * 1e9))
        context = span.get_span_context()
        if context.is_valid:
            exchange.trace_id = format_trace_id(context.trace_id)

    def close(self) -> None:
        """Send what has not been sent, if the collector takes it soon."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(_LAST_SECONDS)


def _otlp() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(timeout=2)


def _attributes(exchange: Exchange) -> dict[str, Any]:
    """By OpenTelemetry's semantic conventions where they have a word (HTTP, generative models)."""
    told: dict[str, Any] = {
        "http.request.method": exchange.method,
        "http.response.status_code": exchange.status,
        "bowerbird.request_id": exchange.request_id,
    }
    if exchange.path != UNKNOWN_PATH:
        told["http.route"] = exchange.path
    if exchange.model:
        told["gen_ai.request.model"] = exchange.model
        told["gen_ai.usage.input_tokens"] = exchange.prompt_tokens
        told["gen_ai.usage.output_tokens"] = exchange.completion_tokens
    if exchange.owner:
        told["bowerbird.owner"] = exchange.owner
    if exchange.code:
        told["error.type"] = exchange.code
    return told
