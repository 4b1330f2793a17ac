"""A server as `bowerbird serve` runs it, with all that stands before it, in a thread of the test's process."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bowerbird.serving.limits import LIMITS, Limits
from bowerbird.serving.server import listen, make_server, url_of


@contextmanager
def running(app: Any, *, limits: Limits = LIMITS, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of a server of this app, until the block ends."""
    ready = threading.Event()
    with listen("127.0.0.1", 0) as bound:
        url = url_of(bound, tls=tls is not None)
        server = make_server(app, bound, on_ready=ready.set, drain_seconds=1, limits=limits, tls=tls)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            assert ready.wait(120)
            yield url
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()
