"""A challenger beside a live model: which requests it gets while on trial, and who sees when that begins and ends.

A trial is begun by `bowerbird update`, which writes it into the workspace; every server there sees it within seconds.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from bowerbird.base.errors import BowerbirdError
from bowerbird.kinds.loaded import Model
from bowerbird.serving import warming
from bowerbird.serving.delivery import report, warn
from bowerbird.serving.engine import Engine
from bowerbird.serving.errors import UnknownSession
from bowerbird.serving.sessions import SessionStore
from bowerbird.store.rollout import Rollout, read_rollout
from bowerbird.workspace import Workspace

Arm = Literal["", "live", "challenger"]
"""Who answers a request; "" where nothing is on trial."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """A challenger as it is served."""

    rollout: Rollout
    model: Model

    def of_caller(self, owner: str, live: Model) -> tuple[Model, Arm]:
        """Who answers a caller: always the same, by the key; of callers without keys, each request by itself."""
        return self._of(owner or secrets.token_hex(8), live)

    def of_session(self, store: SessionStore, name: str, owner: str, live: Model) -> tuple[Model, Arm]:
        """Who goes on with a session: whom it began with; a new one is given to either, by its name."""
        try:
            digest = store.get(name, owner).digest
        except UnknownSession:
            return self._of(f"{owner}/{name}", live)
        return (self.model, "challenger") if digest == self.model.digest else (live, "live")

    def is_copied(self) -> bool:
        """Whether a request that the live model answered is to be asked of the challenger too."""
        return self.rollout.mode == "shadow" and self.rollout.takes(secrets.token_hex(8))

    def told(self) -> dict[str, Any]:
        """What `/v1/models` tells of it."""
        keys = ("version", "digest", "mode", "share", "since")
        return {key: getattr(self.rollout, key) for key in keys}

    def _of(self, key: str, live: Model) -> tuple[Model, Arm]:
        taken = self.rollout.mode == "share" and self.rollout.takes(key)
        return (self.model, "challenger") if taken else (live, "live")


class Challengers:
    """The trials of a server, by the id of the live model.

    Reading takes no lock: the mapping is a new one at each change.
    """

    def __init__(self) -> None:
        self.trials: Mapping[str, Trial] = {}

    def of(self, model_id: str, live: Model) -> Trial | None:
        """The trial against this very model; None where there is none."""
        trial = self.trials.get(model_id)
        return trial if trial is not None and trial.rollout.live_digest == live.digest else None

    def put(self, model_id: str, trial: Trial) -> None:
        self.trials = {**self.trials, model_id: trial}

    def take_away(self, model_id: str) -> None:
        self.trials = {other: trial for other, trial in self.trials.items() if other != model_id}


class ChallengerWatch:
    """Looks which trials are on, from a thread of its own while the block runs.

    A challenger that cannot be loaded is logged once, and the live model answers alone.

    Args:
        engine: what serves the models; a challenger gets a lane of its own in it.
        challengers: the table that requests are answered by.
        places: a reference (`poems@live`) for each model id. One that names a number is never tried against.
        load: gives the model of a reference, or refuses it: a signature that is asked for is asked for here too.
        every_seconds: from one look to the next.
        workspace: where trials are looked up; by default the user's own.
        warm: called with a challenger before it answers anybody.
    """

    def __init__(
        self,
        engine: Engine,
        challengers: Challengers,
        places: Mapping[str, str],
        load: Callable[[str], Model],
        every_seconds: float = 1.0,
        *,
        workspace: Workspace | None = None,
        warm: Callable[[Model], None] = warming.warm,
    ):
        self.engine = engine
        self.challengers = challengers
        self.every_seconds = every_seconds
        self._workspace = workspace or Workspace()
        self._names = {model_id: self._name_of(reference) for model_id, reference in places.items()}
        self._load = load
        self._warm = warm
        self._failed: dict[str, str] = {}
        """By name: what could not be served, so that it is tried and told once."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bowerbird challenger watch", daemon=True)

    def look(self) -> list[str]:
        """Look once; the ids of the models whose trial has begun, changed or ended."""
        changed = []
        loaded: dict[str, Model] = {}
        for model_id, name in self._names.items():
            if name is None:
                continue
            wanted = self._wanted(model_id, name, loaded)
            before = self.challengers.trials.get(model_id)
            if (wanted and wanted.rollout) == (before and before.rollout):
                continue
            if self._stop.is_set():
                break
            self._change(model_id, before, wanted)
            changed.append(model_id)
        return changed

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception as error:
                report("trials could not be looked up", error)
            self._stop.wait(self.every_seconds)

    def _change(self, model_id: str, before: Trial | None, wanted: Trial | None) -> None:
        """New requests go by the new state at once; what was asked before ends as it began."""
        if wanted is not None:
            self.engine.open_beside(model_id, wanted.model, background=wanted.rollout.mode == "shadow")
            self.challengers.put(model_id, wanted)
            log.info("`%s`: version %s is on trial", model_id, wanted.rollout.version)
        else:
            self.challengers.take_away(model_id)
            log.info("`%s`: the trial has ended", model_id)
        if before is not None and (wanted is None or before.model is not wanted.model):
            self.engine.close_beside(model_id, before.model)

    def _wanted(self, model_id: str, name: str, loaded: dict[str, Model]) -> Trial | None:
        """The trial that is to be on for a model; None where none is, or its challenger cannot be served."""
        live = self.engine.models.get(model_id)
        try:
            rollout = read_rollout(self._workspace.root, name)
            if rollout is None or live is None or live.digest != rollout.live_digest:
                return None
            before = self.challengers.trials.get(model_id)
            if before is not None and before.rollout.digest == rollout.digest:
                return Trial(rollout, before.model)
            if self._failed.get(name) == rollout.digest:
                return None
            model = loaded.get(rollout.digest) or self._loaded(rollout)
        except Exception as error:
            self._tell_failed(name, error)
            return None
        loaded[rollout.digest] = model
        return Trial(rollout, model)

    def _loaded(self, rollout: Rollout) -> Model:
        try:
            model = self._load(f"{rollout.name}@{rollout.version}")
            if model.digest != rollout.digest:
                raise RuntimeError(f"version {rollout.version} is not the one that is on trial")
            self._warm(model)
        except Exception:
            self._failed[rollout.name] = rollout.digest
            raise
        return model

    def _tell_failed(self, name: str, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"
        if self._failed.get(f"{name}: told") == said:
            return
        self._failed[f"{name}: told"] = said
        warn(f"nothing is tried beside `{name}`", error)

    def _name_of(self, reference: str) -> str | None:
        """The name that a reference is of, where it means what is live; None for folders and numbers."""
        name, at, selector = reference.partition("@")
        if at and selector.isdecimal():
            return None
        try:
            published = self._workspace.resolve(reference).published
        except BowerbirdError:
            return None
        return name if published is not None else None
