"""Tells others that traffic has moved: a line in a file, a command, a webhook. What fails is told, and ends nothing."""

from __future__ import annotations

import json
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bowerbird.base.errors import BowerbirdError, StorageError, UsageError, storage_errors
from bowerbird.base.files import private, private_folder

TIMEOUT_SECONDS = 10.0
_MOST_SAID = 300
"""Characters of what a failing command said."""

Alert = Mapping[str, Any]
"""JSON values."""


@dataclass(frozen=True)
class Alerts:
    """Where to send an alert.

    Raises:
        UsageError: the command is empty or badly quoted, or the webhook is no http address.
    """

    file: Path | None = None
    """A line of JSON is appended to it."""
    command: str | None = None
    """Is run with the alert as JSON on its standard input. It is split into words as a shell would, and run by none."""
    webhook: str | None = None
    """Is sent the alert as the JSON body of a POST."""

    def __post_init__(self) -> None:
        if self.command is not None:
            _words(self.command)
        if self.webhook is not None:
            address = urlsplit(self.webhook)
            if address.scheme not in ("http", "https") or not address.hostname:
                raise UsageError(
                    "the webhook is no address of the web", where=self.webhook, hint="https://HOST/PATH"
                )

    def __bool__(self) -> bool:
        return any((self.file, self.command, self.webhook))

    def send(self, alert: Alert) -> list[str]:
        """Send it everywhere. Returns what went wrong, a sentence each."""
        ways: list[tuple[str, Callable[[], None]]] = []
        if self.file is not None:
            file = self.file
            ways.append((f"the file {file}", lambda: to_file(alert, file)))
        if self.command is not None:
            command = self.command
            ways.append((f"the command `{_words(command)[0]}`", lambda: to_command(alert, command)))
        if self.webhook is not None:
            webhook = self.webhook
            ways.append((f"the webhook at {urlsplit(webhook).hostname}", lambda: to_webhook(alert, webhook)))
        failures = []
        for way, send in ways:
            try:
                send()
            except BowerbirdError as error:
                failures.append(f"{way} was not told: {error.what}")
        return failures


def to_file(alert: Alert, path: Path) -> None:
    """Raises StorageError: the disk says no."""
    private_folder(path.absolute().parent)
    with storage_errors(path), open(path, "a", encoding="utf-8", opener=private) as file:
        file.write(_line(alert))


def to_command(alert: Alert, command: str) -> None:
    """Raises StorageError: it cannot be run, ends with an error, or takes too long."""
    words = _words(command)
    try:
        ran = subprocess.run(
            words,
            input=_line(alert),
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StorageError(f"it took more than {TIMEOUT_SECONDS:.0f} s", where=words[0]) from error
    except OSError as error:
        raise StorageError(f"it cannot be run: {error.strerror or error}", where=words[0]) from error
    if ran.returncode:
        said = " ".join(ran.stderr.split())[:_MOST_SAID]
        raise StorageError(f"it ended with {ran.returncode}{f': {said}' if said else ''}", where=words[0])


def to_webhook(alert: Alert, address: str) -> None:
    """Raises StorageError: it cannot be reached, says no, or leads to another host."""
    request = urllib.request.Request(
        address,
        data=_line(alert).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "bowerbird"},
        method="POST",
    )
    try:
        with urllib.request.build_opener(_SameHost).open(request, timeout=TIMEOUT_SECONDS) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        raise StorageError(f"it answered {error.code}", where=address) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise StorageError(f"it cannot be reached: {reason}", where=address) from error


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to another host, which the alert was not meant for; nor from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise urllib.error.URLError(f"it leads to another host, {new.netloc}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the alert command cannot be read: {error}", where=command) from error
    if not words:
        raise UsageError("the alert command is empty", hint="--alert-command 'notify-send bowerbird'")
    return words


def _line(alert: Alert) -> str:
    return json.dumps(dict(alert), ensure_ascii=False, allow_nan=False) + "\n"
