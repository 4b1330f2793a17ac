"""Tells the service manager that started this process how it is doing, in systemd's words."""

from __future__ import annotations

import os
import socket


def tell_service_manager(state: str) -> None:
    """Send `READY=1` or the like, where systemd waits for it (`Type=notify`); elsewhere nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):  # a name that no file has, as Linux knows them
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.sendto(state.encode(), address)
