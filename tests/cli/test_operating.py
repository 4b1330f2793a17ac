"""The options of `serve` for whoever operates it: what is out of range, or does not go together, is refused at once."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Ran

from bowerbird.base.errors import MissingExtra, UsageError
from bowerbird.cli.operating import Operating
from bowerbird.serving.server import listen
from bowerbird.serving.tracing import ENDPOINTS

Bowerbird = Callable[..., Ran]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("slots", 0),
        ("slots", -1),
        ("slots", 1025),
        ("queue", 0),
        ("queue", 1_000_001),
        ("workers", 0),
        ("workers", 65),
        ("drain_seconds", -0.1),
        ("drain_seconds", 3600.1),
        ("drain_seconds", float("nan")),
        ("drain_seconds", float("inf")),
    ],
)
def test_a_number_out_of_its_range_is_refused_with_the_range(option: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        Operating(**{option: value}).check()
    assert f"--{option.replace('_', '-')} {value} is out of range" in caught.value.what
    assert re.fullmatch(r"\d+ to [\d,]+", caught.value.hint or "")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"slots": 1, "queue": 1, "workers": 1, "drain_seconds": 0},
        {"slots": 1024, "queue": 1_000_000, "workers": 64, "drain_seconds": 3600},
        {"metrics_port": 0, "metrics_host": "::1"},
    ],
    ids=str,
)
def test_numbers_within_their_ranges_are_taken(options: dict[str, Any]) -> None:
    Operating(**options).check()


def test_a_host_for_metrics_without_their_port_is_refused() -> None:
    with pytest.raises(UsageError, match="--metrics-host is of no use without --metrics-port"):
        Operating(metrics_host="::1").check()


def test_several_workers_need_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    Operating().check()
    with pytest.raises(UsageError, match="POSIX"):
        Operating(workers=2).check()


@pytest.mark.parametrize("asked", ["--trace", *ENDPOINTS])
def test_traces_without_their_packages_are_refused(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return imported(name, *arguments, **options)

    if asked != "--trace":
        monkeypatch.setenv(asked, "http://127.0.0.1:4318")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra) as caught:
        Operating(trace=asked == "--trace").check()
    assert "bowerbird[monitor]" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--slots", "0"], 2, "--slots 0 is out of range"),
        (["--workers", "1000"], 2, "--workers 1000 is out of range"),
        (["--drain-seconds", "nan"], 2, "--drain-seconds nan is out of range"),
        (["--queue", "many"], 2, "queue"),
        (["--metrics-port", "70000"], 2, "there is no port 70000"),
        (["--metrics-port", "0", "--metrics-host", "0.0.0.0"], 5, "--metrics-host 0.0.0.0"),
        (["--metrics-host", "::1"], 2, "--metrics-host is of no use"),
        (["--access-log", "FILE/access.jsonl"], 3, "could not write"),
        (["--set", "limits.bodybytes=5"], 2, "limits.body_bytes"),
        (["--set", "limits.connections=0"], 2, "connections"),
        (["--keys", "NOWHERE"], 4, "bowerbird keys new NAME"),
        (["--tls-cert", "FILE"], 2, "--tls-key"),
        (["--allow-origin", "*"], 2, "*"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value)[:20],
)
def test_serve_refuses_before_it_loads_a_model(
    bowerbird: Bowerbird,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    def load(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr("bowerbird.lifecycle.load", load)
    (tmp_path / "file").write_text("")
    places = {"FILE": tmp_path / "file", "NOWHERE": tmp_path / "nowhere"}
    given = [re.sub("FILE|NOWHERE", lambda found: str(places[found[0]]), part) for part in arguments]
    ran = bowerbird("serve", tiny_run, "--port", "0", *given)
    assert ran.code == code, ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_a_port_for_metrics_that_is_taken_is_named_with_its_option(
    bowerbird: Bowerbird, tiny_run: Path
) -> None:
    with listen("127.0.0.1", 0) as taken:
        ran = bowerbird("serve", tiny_run, "--port", "0", "--metrics-port", taken.getsockname()[1])
    assert ran.code == 3
    assert "this port is in use" in ran.err
    assert "--metrics-port" in ran.err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BOWERBIRD_SLOTS", "0", "--slots 0 is out of range"),
        ("BOWERBIRD_WORKERS", "99", "--workers 99 is out of range"),
        ("BOWERBIRD_DRAIN_SECONDS", "-1", "--drain-seconds -1.0 is out of range"),
        ("BOWERBIRD_METRICS_PORT", "70000", "there is no port 70000"),
        ("BOWERBIRD_HOST", "0.0.0.0", "this machine only"),
        ("BOWERBIRD_KEYS", "nowhere.json", "there is no file of keys here"),
        ("BOWERBIRD_TLS_CERT", "nowhere.pem", "TLS wants a certificate and its private key"),
    ],
)
def test_every_option_may_come_from_the_environment(
    bowerbird: Bowerbird, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    ran = bowerbird("serve", tiny_run, "--port", "0")
    assert said in ran.err
    assert ran.code in {2, 4, 5}


def test_options_of_serve_in_the_environment_are_nothing_to_other_commands(
    bowerbird: Bowerbird, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCESS_LOG", "DRAIN_SECONDS", "HOST", "WORKERS", "METRICS_PORT"):
        monkeypatch.setenv(f"BOWERBIRD_{name}", "1")
    assert bowerbird("keys", "list").code == 0


def test_the_help_says_what_each_worker_counts_for_itself(bowerbird: Bowerbird) -> None:
    said = re.sub(r"[│\s]+", " ", bowerbird("serve", "--help").out)
    assert "limits are counted in each" in said
    for option in (
        "--slots",
        "--queue",
        "--workers",
        "--drain-seconds",
        "--access-log",
        "--metrics-port",
        "--trace",
    ):
        assert option in said


def test_options_named_in_the_page_for_operators_exist(bowerbird: Bowerbird) -> None:
    said = "".join(bowerbird(*command, "--help").out for command in (["serve"], ["publish"], ["keys", "new"]))
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert len(named) > 8
    assert {option for option in named if option not in said} == set()
