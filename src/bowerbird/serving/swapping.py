"""Hot swap: when an alias that is served moves, the model it now means takes the place of the other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from bowerbird.kinds.loaded import Model
from bowerbird.serving import warming
from bowerbird.serving.delivery import warn
from bowerbird.serving.engine import Engine
from bowerbird.workspace import Workspace

RETRY_SECONDS = 30.0
"""A version that could not be served is tried again after so long, or once the alias moves on."""

log = logging.getLogger(__name__)


class AliasWatch:
    """Looks where published models' references lead, from a thread of its own while the block runs.

    A model that cannot be loaded is logged, and the old one stays. Folders are not watched: only what is
    published moves whole.

    Args:
        engine: what serves the models.
        places: a reference (`poems@live`) for each model id.
        load: gives the model of a reference, or refuses it; a signature that is asked for is asked for here too.
        every_seconds: from one look to the next.
        workspace: where references are looked up; by default the user's own.
        warm: called with a model before it takes its place.
    """

    def __init__(
        self,
        engine: Engine,
        places: Mapping[str, str],
        load: Callable[[str], Model],
        every_seconds: float = 1.0,
        *,
        workspace: Workspace | None = None,
        warm: Callable[[Model], None] = warming.warm,
    ):
        self.engine = engine
        self.places = dict(places)
        self.every_seconds = every_seconds
        self._load = load
        self._workspace = workspace or Workspace()
        self._warm = warm
        self._failed: dict[str, tuple[str, float]] = {}
        """By model id: the digest that could not be served, and when it was tried."""
        self._unseen: dict[str, str] = {}
        """By model id: why its reference led nowhere at the last look."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bowerbird alias watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Look no more. A model that is being loaded meanwhile is not put in place."""
        self._stop.set()

    def look(self) -> list[str]:
        """Look once, and replace what has moved; the ids of those models."""
        return [model_id for model_id, reference in self.places.items() if self._moved(model_id, reference)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stop.wait(self.every_seconds):
            self.look()

    def _moved(self, model_id: str, reference: str) -> bool:
        digest = self._digest(model_id, reference)
        served = self.engine.models.get(model_id)
        if digest is None or served is None or served.digest == digest:
            return False
        failed, tried_at = self._failed.get(model_id, ("", 0.0))
        if failed == digest and time.monotonic() - tried_at < RETRY_SECONDS:
            return False
        try:
            model = self._load(reference)
            self._warm(model)
            if self._stop.is_set():
                return False
            self.engine.replace(model_id, model)
        except Exception as error:
            self._failed[model_id] = digest, time.monotonic()
            warn(
                f"`{model_id}` stays as it is: the model that `{reference}` leads to cannot be served", error
            )
            return False
        self._failed.pop(model_id, None)
        log.info("`%s` is now %s", model_id, model.digest)
        return True

    def _digest(self, model_id: str, reference: str) -> str | None:
        """Of the published model that a reference leads to now; None where it leads to none."""
        try:
            published = self._workspace.resolve(reference).published
        except Exception as error:
            if self._unseen.get(model_id) != str(error):
                self._unseen[model_id] = str(error)
                warn(f"`{model_id}` stays as it is: `{reference}` cannot be looked up", error)
            return None
        self._unseen.pop(model_id, None)
        return published.digest if published is not None else None
