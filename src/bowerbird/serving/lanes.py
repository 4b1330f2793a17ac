"""The lanes of an engine: which model's is which, and whose turn it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bowerbird.base.errors import UsageError
from bowerbird.kinds.loaded import Model
from bowerbird.serving.errors import UnknownModel
from bowerbird.serving.scheduler import Lane

Open = Callable[[str, Model], Lane]


class Lanes:
    """Lanes that have work take turns by the time they used, so that slow models do not hold up quick ones.

    All is called with the engine's lock held, except `models`, which is a new mapping whenever it changes.

    Args:
        models: by the id that they are asked for by.
        open_lane: opens a lane of a model, by its id.
    """

    def __init__(self, models: Mapping[str, Model], open_lane: Open):
        self._open = open_lane
        self._serving = {model_id: open_lane(model_id, model) for model_id, model in models.items()}
        self._beside: list[Lane] = []
        """Of challengers: asked for by the id of the model that they are tried against."""
        self._retiring: list[Lane] = []
        """Of models that were replaced or removed, until what they were asked for has ended."""
        self._clock = 0.0
        """What the lane that was last chosen had used."""
        self.models: Mapping[str, Model] = dict(models)

    def __iter__(self) -> Iterator[Lane]:
        yield from self._serving.values()
        yield from self._beside
        yield from self._retiring

    def __getitem__(self, model_id: str) -> Lane:
        """Raises `UnknownModel`."""
        if model_id not in self._serving:
            raise UnknownModel(model_id, self._serving)
        return self._serving[model_id]

    def of(self, model_id: str, model: Model | None) -> Lane:
        """The lane of a model that may have been replaced; one that is gone is opened again, to retire at once.

        Raises:
            UnknownModel: nothing is served by this id.
        """
        serving = self[model_id]
        if model is None or serving.model is model:
            return serving
        for lane in (*self._beside, *self._retiring):
            if lane.model is model and lane.model_id == model_id:
                return lane
        self._retiring.append(self._open(model_id, model))
        return self._retiring[-1]

    def add(self, model_id: str, lane: Lane) -> None:
        """Raises UsageError: there is one by this id."""
        if model_id in self._serving:
            raise UsageError(f"a model is served as `{model_id}` already")
        self._put(model_id, lane)

    def replace(self, model_id: str, lane: Lane) -> None:
        """Raises `UnknownModel`."""
        self._retiring.append(self[model_id])
        self._put(model_id, lane)

    def remove(self, model_id: str) -> None:
        """Raises `UnknownModel`."""
        self._retiring.append(self[model_id])
        del self._serving[model_id]
        self._tell()

    def open_beside(self, lane: Lane) -> None:
        """Raises `UnknownModel`: nothing is served by the id that it is asked for by."""
        assert self[lane.model_id].model is not lane.model, "it is served by this id"
        self._beside.append(lane)

    def close_beside(self, model_id: str, model: Model) -> None:
        """Let what was asked of a challenger end as it began; a second time does nothing."""
        closed = [lane for lane in self._beside if lane.model_id == model_id and lane.model is model]
        self._beside = [lane for lane in self._beside if lane not in closed]
        self._retiring += closed

    def let_go(self) -> None:
        """Forget lanes that retire and are empty."""
        if self._retiring:
            self._retiring = [lane for lane in self._retiring if not lane.empty]

    def next(self) -> Lane | None:
        """Of the lanes with work, the one that has used least; what it did not use while idle is lost.

        A lane in the background has a turn when no other has work.
        """
        ready = []
        for lane in self:
            if not lane.ready:
                lane.idle = True
                continue
            if lane.idle:
                lane.idle = False
                lane.used = max(lane.used, self._clock)
            ready.append(lane)
        if not ready:
            return None
        chosen = min(ready, key=lambda lane: (lane.background, lane.used))
        if not chosen.background:
            self._clock = chosen.used
        return chosen

    def _put(self, model_id: str, lane: Lane) -> None:
        self._serving[model_id] = lane
        self._tell()

    def _tell(self) -> None:
        self.models = {model_id: lane.model for model_id, lane in self._serving.items()}
