"""The access log: a JSON object a line, private, safe to rotate, and never in the way of an answer."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from pathlib import Path

import pytest

from bowerbird.base.errors import StorageError
from bowerbird.serving.access import AccessLog
from bowerbird.serving.exchange import Exchange


def exchange(request_id: str = "r1") -> Exchange:
    return Exchange(
        request_id,
        "POST",
        began=1_700_000_000.25,
        seconds=0.123456789,
        path="/v1/completions",
        status=200,
        model="tiny",
        prompt_tokens=4,
        completion_tokens=9,
        owner="k1",
    )


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_has_every_field(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "logs" / "access.jsonl")
    log(exchange())
    log.close()
    assert lines(tmp_path / "logs" / "access.jsonl") == [
        {
            "time": "2023-11-14T22:13:20.250+00:00",
            "request_id": "r1",
            "method": "POST",
            "path": "/v1/completions",
            "status": 200,
            "seconds": 0.123457,
            "model": "tiny",
            "prompt_tokens": 4,
            "completion_tokens": 9,
            "owner": "k1",
            "code": "",
            "left": False,
            "trace_id": "",
        }
    ]


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX systems")
def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        AccessLog(tmp_path / "access.jsonl").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "access.jsonl").stat().st_mode) == 0o600


def test_without_a_file_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    AccessLog()(exchange())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["request_id"] == "r1"


@pytest.mark.skipif(os.name != "posix", reason="an open file is not moved elsewhere")
def test_a_file_that_was_moved_away_or_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "access.jsonl"
    log = AccessLog(path)
    log(exchange("one"))
    path.rename(tmp_path / "access.jsonl.1")
    log(exchange("two"))
    path.unlink()
    log(exchange("three"))
    log.close()
    assert [line["request_id"] for line in lines(tmp_path / "access.jsonl.1")] == ["one"]
    assert [line["request_id"] for line in lines(path)] == ["three"]


def test_several_may_write_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "access.jsonl"

    def write(name: str) -> None:
        log = AccessLog(path)
        for number in range(200):
            log(exchange(f"{name}-{number}"))
        log.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [str(line["request_id"]) for line in lines(path)]
    assert sorted(found) == sorted(f"{name}-{number}" for name in "abcd" for number in range(200))


def test_a_log_that_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        AccessLog(tmp_path / "file" / "access.jsonl")


def test_a_log_that_cannot_be_written_is_told_once_and_costs_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = AccessLog(tmp_path / "access.jsonl")
    write = os.write

    def full(handle: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with caplog.at_level(logging.ERROR):
        monkeypatch.setattr(os, "write", full)
        log(exchange("lost"))
        log(exchange("lost too"))
        monkeypatch.setattr(os, "write", write)
        log(exchange("kept"))
    log.close()
    assert len(caplog.records) == 1
    assert [line["request_id"] for line in lines(tmp_path / "access.jsonl")] == ["kept"]
