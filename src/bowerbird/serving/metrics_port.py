"""`/metrics` on a port of its own, for a scraper that shall reach nothing else and needs no key."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bowerbird.serving.metrics import CONTENT_TYPE

_SECONDS = 5.0
"""A request must have arrived within these."""


@contextmanager
def metrics_on(bound: socket.socket, text: Callable[[], bytes]) -> Iterator[None]:
    """Answer `GET /metrics` on a bound socket, from threads, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _SECONDS
        protocol_version = "HTTP/1.1"
        server_version = "bowerbird"
        sys_version = ""

        def do_GET(self) -> None:
            known = self.path.partition("?")[0] == "/metrics"
            content = text() if known else b"the metrics are at /metrics\n"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """A scraper comes every few seconds: nothing worth a line."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            """A scraper that leaves early is its own affair."""

    server = Server(bound.getsockname()[:2], Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = bound
    thread = threading.Thread(target=server.serve_forever, name="bowerbird metrics port", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_SECONDS)
