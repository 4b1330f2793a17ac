"""What a service manager is told, over the socket that it names."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from bowerbird.serving.notify import tell_service_manager

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd is on Linux")


def listening(address: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.bind(address)
    line.settimeout(60)
    return line


def test_a_manager_at_a_path_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with listening(str(tmp_path / "notify")) as line:
        tell_service_manager("READY=1")
        assert line.recv(100) == b"READY=1"


@pytest.mark.skipif(sys.platform != "linux", reason="names that no file has are Linux's")
def test_a_manager_at_an_abstract_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"bowerbird-{tmp_path.name}-{id(tmp_path)}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with listening(f"\0{name}") as line:
        tell_service_manager("READY=1")
        assert line.recv(100) == b"READY=1"


def test_where_there_is_no_manager_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    tell_service_manager("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "")
    tell_service_manager("READY=1")
    assert caplog.text == ""


@pytest.mark.parametrize("address", ["nobody-is-here", "@nobody-is-here", "x" * 500])
def test_a_manager_that_does_not_listen_ends_nothing(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    tell_service_manager("READY=1")
    assert "cannot be told READY=1" in caplog.text
