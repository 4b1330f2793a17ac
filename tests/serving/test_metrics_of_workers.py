"""Several processes and one answer: what each counts is added up, and of one that has ended what it counted stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serving.scraped import Scraped, scraped

from bowerbird.serving.metrics import MULTIPROC, forget_worker, text_of_workers

WORKER = """
from types import SimpleNamespace
from bowerbird.serving.exchange import Exchange
from bowerbird.serving.metrics import Metrics
metrics = Metrics()
models = {"tiny": SimpleNamespace(digest="d1")}
metrics.versions["d1"] = "3"
metrics.follow(SimpleNamespace(models=models, load=lambda model_id: (2, 5)))
metrics.stepped("tiny", 2, 16, 0.1)
metrics.ended("tiny", "stop", 8, 0.2)
metrics(Exchange("r", "POST", path="/v1/completions", status=200, model="tiny", prompt_tokens=4))
metrics.refresh()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MULTIPROC, str(tmp_path))
    return tmp_path


@pytest.fixture
def pids(folder: Path) -> list[int]:
    """Of two workers that have counted; of one, the end is not noted yet."""
    workers = [subprocess.Popen([sys.executable, "-c", WORKER]) for _ in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    return [worker.pid for worker in workers]


def read() -> Scraped:
    return scraped(text_of_workers())


def test_counts_and_gauges_of_all_are_added_up(pids: list[int]) -> None:
    found = read()
    assert found.value("tokens_total", model="tiny", direction="completion") == 32
    assert found.value("tokens_total", model="tiny", direction="prompt") == 8
    assert found.value("samples_total", model="tiny", reason="stop") == 2
    assert found.value("requests_total", model="tiny", path="/v1/completions", status="200") == 2
    assert found.value("batch_size_count", model="tiny") == 2
    assert found.value("batch_size_bucket", model="tiny", le="2.0") == 2
    assert (found.value("slots_used", model="tiny"), found.value("queue_length", model="tiny")) == (4, 10)
    assert found.value("resident_memory_bytes") > 1 << 20


def test_what_a_model_is_is_told_once(pids: list[int]) -> None:
    assert read().value("model_info", model="tiny", digest="d1", version="3") == 1


def test_of_a_worker_that_has_ended_the_gauges_go_and_the_counts_stay(folder: Path, pids: list[int]) -> None:
    forget_worker(str(folder), pids[0])
    found = read()
    assert (found.value("slots_used", model="tiny"), found.value("queue_length", model="tiny")) == (2, 5)
    assert found.value("tokens_total", model="tiny", direction="completion") == 32
    forget_worker(str(folder), pids[1])
    assert read().total("slots_used") == 0
    assert not [name for name in os.listdir(folder) if "live" in name]


def test_before_any_worker_has_counted_there_is_nothing(folder: Path) -> None:
    assert read().samples == {}
