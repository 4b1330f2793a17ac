"""Tells the service manager that started this process how it is doing, in systemd's words."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


def tell_service_manager(state: str) -> None:
    """Send `READY=1` or the like, where systemd waits for it (`Type=notify`); elsewhere nothing happens.

    A manager that does not listen costs a line of the log, and no server.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):  # a name that no file has, as Linux knows them
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(state.encode(), address)
    except OSError as error:
        log.warning("the service manager cannot be told %s: %s", state, error)
