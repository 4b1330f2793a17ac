"""Before a server calls itself ready, every model makes a little, so that nobody waits for the compiler."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from bowerbird.kinds.loaded import Model

_LITTLE: dict[str, dict[str, Any]] = {
    "text": {"prompt": "a", "length": 8},
    "melody": {"length": 32},
}
"""By kind: fields of a request that is soon done; of other kinds any is."""

log = logging.getLogger(__name__)


def warm(model: Model) -> None:
    """Make two samples at once and throw them away: one by itself may take another path than several."""
    for n in (1, 2):
        model.generate(n=n, seed=0, **_LITTLE.get(model.kind.name, {}))


class Warming:
    """Warms models in a thread of its own, once.

    Args:
        models: what is to be warmed, as it is when the thread starts.
    """

    def __init__(self, models: Callable[[], Mapping[str, Model]]):
        self._models = models
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._ended = threading.Event()

    @property
    def state(self) -> str:
        """`cold`, `warming`, `failed` or `warm`."""
        if self._ended.is_set():
            return "failed" if self._error else "warm"
        return "warming" if self._thread else "cold"

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bowerbird warming", daemon=True)
            self._thread.start()

    async def done(self) -> None:
        """Wait until all are warm.

        Raises:
            Exception: what a model raised; it would raise it for everybody.
        """
        while (
            not self._ended.is_set()
        ):  # looked at, not waited for in a thread: that would hold up an early end
            await asyncio.sleep(0.02)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for model in {id(model): model for model in self._models().values()}.values():
                warm(model)
            _spare_what_stays()
        except Exception as error:
            log.exception("a model cannot be used")
            self._error = error
        finally:
            self._ended.set()


def _spare_what_stays() -> None:
    """Have the collector of garbage pass over all there is by now: half a second in which no stream goes on."""
    gc.collect()
    gc.freeze()
