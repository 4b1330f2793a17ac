"""The numbers for Prometheus: what each call of the engine and each answer adds to them, and their names."""

from __future__ import annotations

import builtins
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.serving.scraped import Scraped, scraped

from bowerbird.base.errors import MissingExtra
from bowerbird.serving.exchange import UNKNOWN_PATH, Exchange
from bowerbird.serving.metrics import MULTIPROC, Metrics, resident_bytes

SERVING = Path(__file__).resolve().parents[2] / "docs" / "serving.md"


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    monkeypatch.delenv(MULTIPROC, raising=False)
    return Metrics()


class Served:
    """What the metrics ask of an engine: which models there are, and how busy each is."""

    def __init__(self, **digests: str):
        self.models: dict[str, Any] = {}
        self.loads: dict[str, tuple[int, int]] = {}
        for model_id, digest in digests.items():
            self.put(model_id, digest)

    def put(self, model_id: str, digest: str) -> None:
        self.models[model_id] = SimpleNamespace(digest=digest)

    def load(self, model_id: str) -> tuple[int, int]:
        return self.loads.get(model_id, (0, 0))


def following(metrics: Metrics, engine: Any) -> Metrics:
    metrics.follow(engine)
    return metrics


def read(metrics: Metrics) -> Scraped:
    return scraped(metrics.text())


def exchange(**fields: Any) -> Exchange:
    known: dict[str, Any] = {"path": "/v1/completions", "status": 200, "model": "tiny", "seconds": 0.03}
    return Exchange("r1", "POST", **{**known, **fields})


def test_turns_count_their_tokens_and_streams(metrics: Metrics) -> None:
    metrics.stepped("tiny", 3, 24, 0.5)
    metrics.stepped("tiny", 2, 2, 0.25)
    metrics.stepped("other", 1, 8, 0.25)
    metrics.stepped("tiny", 4, 0, 0.5)  # prompts were read, and nothing was made
    found = read(metrics)
    assert found.value("tokens_total", model="tiny", direction="completion") == 26
    assert found.value("tokens_total", model="other", direction="completion") == 8
    assert found.value("batch_size_count", model="tiny") == 3
    assert found.value("batch_size_sum", model="tiny") == 9
    assert found.value("batch_size_bucket", model="tiny", le="2.0") == 1
    assert found.value("time_per_token_seconds_count", model="tiny") == 2
    # A turn of half a second that gave each of three streams eight tokens, and one of a quarter that gave one each.
    assert found.value("time_per_token_seconds_sum", model="tiny") == pytest.approx(0.5 / 8 + 0.25)


def test_samples_are_counted_by_how_they_end(metrics: Metrics) -> None:
    metrics.queued("tiny", "k1")
    metrics.started("tiny", 0.02)
    metrics.first_token("tiny", 0.03)
    for reason in ("stop", "length", "length", "cancelled"):
        metrics.ended("tiny", reason, 9, 1.0)
    metrics.failed("tiny", "timeout")
    found = read(metrics)
    assert found.value("samples_total", model="tiny", reason="stop") == 1
    assert found.value("samples_total", model="tiny", reason="length") == 2
    assert found.value("samples_total", model="tiny", reason="cancelled") == 1
    assert found.value("samples_total", model="tiny", reason="failed") == 1
    assert found.value("time_in_queue_seconds_sum", model="tiny") == pytest.approx(0.02)
    assert found.value("time_to_first_token_seconds_sum", model="tiny") == pytest.approx(0.03)


def test_answers_are_counted_by_path_and_status_and_errors_by_code(metrics: Metrics) -> None:
    metrics(exchange(prompt_tokens=4, completion_tokens=9))
    metrics(exchange(prompt_tokens=3))
    metrics(exchange(status=400, code="invalid_value"))
    metrics(exchange(code="stopping"))  # a stream that ended with it
    metrics(exchange(path="/health", model=""))
    found = read(metrics)
    path = "/v1/completions"
    assert found.value("requests_total", model="tiny", path=path, status="200") == 3
    assert found.value("requests_total", model="tiny", path=path, status="400") == 1
    assert found.value("requests_total", model="", path="/health", status="200") == 1
    assert found.value("request_duration_seconds_count", path=path) == 4
    assert found.value("errors_total", code="invalid_value") == 1
    assert found.value("errors_total", code="stopping") == 1
    assert found.total("errors_total") == 2
    assert found.value("tokens_total", model="tiny", direction="prompt") == 7
    # What is made is counted as it is made, by the turn: else a stream of an hour would show at its end.
    assert found.value("tokens_total", model="tiny", direction="completion") == 0


def test_nothing_that_a_caller_typed_becomes_a_label(metrics: Metrics) -> None:
    following(metrics, Served(tiny="d1"))
    typed = "no model of ours"
    metrics(exchange(model=typed, status=404, code="model_not_found"))
    metrics(exchange(model="", path=UNKNOWN_PATH, status=404, code="not_found"))
    assert typed not in metrics.text().decode()
    found = read(metrics)
    assert found.value("requests_total", model="", path="/v1/completions", status="404") == 1
    assert found.value("requests_total", model="", path="other", status="404") == 1


def test_gauges_are_what_is_so_when_they_are_asked_for(metrics: Metrics) -> None:
    engine = Served(tiny="d1", other="d2")
    engine.loads["tiny"] = (5, 7)
    following(metrics, engine)
    found = read(metrics)
    assert (found.value("slots_used", model="tiny"), found.value("queue_length", model="tiny")) == (5, 7)
    assert (found.value("slots_used", model="other"), found.value("queue_length", model="other")) == (0, 0)
    engine.loads["tiny"] = (1, 0)
    found = read(metrics)
    assert (found.value("slots_used", model="tiny"), found.value("queue_length", model="tiny")) == (1, 0)
    assert found.value("resident_memory_bytes") > 1 << 20


def test_model_info_tells_which_version_an_id_stands_for(metrics: Metrics) -> None:
    engine = Served(tiny="d1", folder="d9")
    metrics.versions |= {"d1": "1", "d2": "2"}
    following(metrics, engine)
    found = read(metrics)
    assert found.value("model_info", model="tiny", digest="d1", version="1") == 1
    assert found.value("model_info", model="folder", digest="d9", version="") == 1
    engine.put("tiny", "d2")
    found = read(metrics)
    assert found.value("model_info", model="tiny", digest="d1", version="1") == 0
    assert found.value("model_info", model="tiny", digest="d2", version="2") == 1
    engine.put("tiny", "d1")  # rolled back
    found = read(metrics)
    assert found.value("model_info", model="tiny", digest="d1", version="1") == 1
    assert found.total("model_info", model="tiny") == 1


def test_of_a_model_that_is_served_no_more_the_gauges_are_nought(metrics: Metrics) -> None:
    engine = Served(tiny="d1", other="d2")
    engine.loads["other"] = (5, 7)
    following(metrics, engine)
    assert read(metrics).value("slots_used", model="other") == 5
    del engine.models["other"]
    found = read(metrics)
    for name in ("slots_used", "queue_length", "model_info"):
        assert found.total(name, model="other") == 0
    assert found.total("model_info", model="tiny") == 1


def test_the_docs_name_every_metric_with_its_labels(metrics: Metrics) -> None:
    sink: Any = SimpleNamespace(counts=lambda: {"written": 3})
    metrics.follow(Served(tiny="d1"), sink)
    metrics.started("tiny", 0.1)
    metrics.first_token("tiny", 0.1)
    metrics.stepped("tiny", 1, 1, 0.1)
    metrics.ended("tiny", "stop", 1, 0.1)
    metrics(exchange(code="stopping", prompt_tokens=1))
    found = read(metrics)
    told = {}
    for name, kind in found.types.items():
        sample = {"counter": f"{name}_total", "histogram": f"{name}_count"}.get(kind, name)
        shown = f"{name}_total" if kind == "counter" else name
        told[shown] = found.labels(sample.removeprefix("bowerbird_"))
    written = {}
    rows = re.findall(r"^\| (`bowerbird_[^|]+)\|([^|]*)\|", SERVING.read_text(encoding="utf-8"), re.MULTILINE)
    for names, labels in rows:
        for name in re.findall(r"`([a-z_]+)`", names):
            written[name] = set(re.findall(r"[a-z]+", labels))
    assert written == told


def test_counters_and_units_are_named_as_prometheus_wants(metrics: Metrics) -> None:
    for name, kind in read(metrics).types.items():
        assert name.startswith("bowerbird_")
        if kind == "histogram" and "batch" not in name:
            assert name.endswith("_seconds")


def test_each_server_of_a_process_counts_for_itself(metrics: Metrics) -> None:
    other = Metrics()
    other.stepped("tiny", 1, 8, 0.1)
    assert read(metrics).total("tokens_total") == 0
    assert read(other).total("tokens_total") == 8


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtra) as caught:
        Metrics()
    assert "bowerbird[serve]" in (caught.value.hint or "")


def test_memory_is_told_where_the_system_does_not_tell_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    now, opened = resident_bytes(), builtins.open

    def no_proc(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return opened(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", no_proc)
    most = resident_bytes()
    assert most >= now / 2 > os.sysconf("SC_PAGE_SIZE")
