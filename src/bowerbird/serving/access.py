"""The access log: one JSON object a line for each request that has ended. Never what was asked or answered."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bowerbird.base.errors import storage_errors
from bowerbird.base.files import private
from bowerbird.serving.exchange import Exchange

log = logging.getLogger(__name__)


def line_of(exchange: Exchange) -> dict[str, Any]:
    """The fields of a line, the same in every one of them."""
    return {
        "time": datetime.fromtimestamp(exchange.began, UTC).isoformat(timespec="milliseconds"),
        "request_id": exchange.request_id,
        "method": exchange.method,
        "path": exchange.path,
        "status": exchange.status,
        "seconds": round(exchange.seconds, 6),
        "model": exchange.model,
        "prompt_tokens": exchange.prompt_tokens,
        "completion_tokens": exchange.completion_tokens,
        "owner": exchange.owner,
        "code": exchange.code,
        "left": exchange.left,
        "trace_id": exchange.trace_id,
    }


class AccessLog:
    """Listens to exchanges. Several processes may share a file: each line is one write at its end.

    Args:
        path: a file, made for its owner alone and opened anew when it was moved away (as logrotate does);
            None is stderr.

    Raises:
        StorageError: the file cannot be written.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self._failed = False
        self._handle: int | None = None
        if path is not None:
            with storage_errors(path):
                self._open(path)

    def __call__(self, exchange: Exchange) -> None:
        """Write a line. A full disk costs lines of the log, and no answers."""
        line = json.dumps(line_of(exchange), ensure_ascii=False, separators=(",", ":")) + "\n"
        try:
            if self.path is None:
                sys.stderr.write(line)
                sys.stderr.flush()
            else:
                os.write(self._current(self.path), line.encode("utf-8", "replace"))
        except OSError as error:
            if not self._failed:
                log.error("the access log cannot be written (%s); its lines are lost until it can", error)
            self._failed = True
        else:
            self._failed = False

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _current(self, path: Path) -> int:
        handle = self._handle
        if handle is not None:
            try:
                if os.path.samestat(os.stat(path), os.fstat(handle)):
                    return handle
            except FileNotFoundError:
                pass
            self.close()
        return self._open(path)

    def _open(self, path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._handle = private(str(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        return self._handle
