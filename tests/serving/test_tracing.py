"""A span for each request, with its own times, in its caller's trace."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from bowerbird.base.errors import MissingExtra
from bowerbird.serving import tracing
from bowerbird.serving.exchange import Exchange
from bowerbird.serving.tracing import ENDPOINTS, Tracing, is_configured

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ENDPOINTS, "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def exchange(**fields: Any) -> Exchange:
    known: dict[str, Any] = {
        "began": 1_700_000_000.5,
        "seconds": 0.25,
        "path": "/v1/completions",
        "status": 200,
        "model": "tiny",
        "prompt_tokens": 4,
        "completion_tokens": 9,
    }
    return Exchange("r1", "POST", **{**known, **fields})


def traced(found: Exchange) -> list[Any]:
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter)
    tracing(found)
    tracing.close()
    return list(exporter.get_finished_spans())


def test_a_span_has_the_request_s_times_and_counts() -> None:
    found = exchange(owner="k1")
    (span,) = traced(found)
    assert (span.name, span.kind) == ("POST /v1/completions", SpanKind.SERVER)
    assert (span.start_time, span.end_time) == (1_700_000_000_500_000_000, 1_700_000_000_750_000_000)
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/completions",
        "http.response.status_code": 200,
        "bowerbird.request_id": "r1",
        "bowerbird.owner": "k1",
        "gen_ai.request.model": "tiny",
        "gen_ai.usage.input_tokens": 4,
        "gen_ai.usage.output_tokens": 9,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.resource.attributes["service.name"] == "bowerbird"
    assert found.trace_id == f"{span.context.trace_id:032x}"


def test_a_span_belongs_to_the_caller_s_trace() -> None:
    found = exchange(trace_parent=f"00-{TRACE}-{PARENT}-01")
    (span,) = traced(found)
    assert found.trace_id == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT


def test_a_caller_who_does_not_sample_gets_no_span() -> None:
    assert traced(exchange(trace_parent=f"00-{TRACE}-{PARENT}-00")) == []


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-0", "\xff"])
def test_what_is_no_parent_begins_a_trace(header: str) -> None:
    (span,) = traced(exchange(trace_parent=header))
    assert span.parent is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": 500, "code": "internal_error"}, StatusCode.ERROR),
        ({"status": 200, "code": "stopping"}, StatusCode.ERROR),
        ({"status": 404, "code": "model_not_found"}, StatusCode.UNSET),
    ],
)
def test_only_what_is_the_server_s_fault_is_an_error_of_the_span(
    fields: dict[str, Any], status: StatusCode
) -> None:
    (span,) = traced(exchange(**fields))
    assert span.status.status_code is status
    assert span.attributes["error.type"] == fields["code"]


def test_unknown_paths_name_no_span() -> None:
    (span,) = traced(exchange(path="other", status=404, code="not_found", model=""))
    assert span.name == "POST"
    assert "http.route" not in span.attributes


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_what_machines_ask_every_few_seconds_is_not_traced(path: str) -> None:
    assert traced(exchange(path=path)) == []


def test_the_environment_names_the_service_and_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "poet")
    assert traced(exchange())[0].resource.attributes["service.name"] == "poet"
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    found = exchange()
    assert traced(found) == []
    assert found.trace_id == ""


def test_it_is_configured_where_a_collector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_configured()
    for name in ENDPOINTS:
        monkeypatch.setenv(name, "http://127.0.0.1:4318")
        assert is_configured()
        monkeypatch.setenv(name, "")
        assert not is_configured()


class Collector(BaseHTTPRequestHandler):
    received: list[tuple[str, ExportTraceServiceRequest]]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            content = gzip.decompress(content)
        self.received.append((self.path, ExportTraceServiceRequest.FromString(content)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, ExportTraceServiceRequest]]]]:
    """A collector's address, and what it receives."""
    received: list[tuple[str, ExportTraceServiceRequest]] = []
    handler = type("Handler", (Collector,), {"received": received})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


def test_spans_reach_a_collector(
    collector: tuple[str, list[tuple[str, ExportTraceServiceRequest]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    tracing = Tracing()
    tracing(exchange())
    tracing.close()
    ((path, message),) = received
    assert path == "/v1/traces"
    (span,) = message.resource_spans[0].scope_spans[0].spans
    assert span.name == "POST /v1/completions"


def test_without_its_packages_tracing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **keywords: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (tracing.check_installed, Tracing):
        with pytest.raises(MissingExtra) as caught:
            call()
        assert "bowerbird[monitor]" in (caught.value.hint or "")
