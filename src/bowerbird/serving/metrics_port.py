"""`/metrics` on a port of its own, for a scraper that shall reach nothing else and needs no key."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bowerbird.serving.delivery import report
from bowerbird.serving.metrics import CONTENT_TYPE

SECONDS = 5.0
"""After these a connection is cut, whatever has come of its request by then."""
MOST_CONNECTIONS = 32
"""At the same time, a thread each; more are closed at once."""


@contextmanager
def metrics_on(bound: socket.socket, text: Callable[[], bytes]) -> Iterator[None]:
    """Answer `GET /metrics` on a bound socket, from threads, until the block ends.

    Args:
        bound: it listens already, and is closed with the block.
        text: gives the numbers; is called for each request. What it raises is logged, and answered with 500.
    """

    class Handler(BaseHTTPRequestHandler):
        server_version = "bowerbird"
        sys_version = ""

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self._answer(404, b"the metrics are at /metrics\n")
                return
            try:
                content = text()
            except Exception as error:
                report("the metrics cannot be told", error)
                self._answer(500, b"something went wrong here; the server's log says where\n")
            else:
                self._answer(200, content)

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """A scraper comes every few seconds: nothing worth a line."""

    server = _Server(bound, Handler)
    thread = threading.Thread(target=server.serve_forever, name="bowerbird metrics port", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(SECONDS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, bound: socket.socket, handler: type[BaseHTTPRequestHandler]):
        super().__init__(bound.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        late = threading.Timer(SECONDS, _cut, (request,))
        late.daemon = True
        late.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            late.cancel()
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A scraper that leaves early, or is cut, is its own affair."""


def _cut(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
