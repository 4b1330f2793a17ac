"""What the routes share: the engine, who may ask for how much, what is kept, and since when."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from bowerbird.serving.challenger import Challengers
from bowerbird.serving.engine import Engine
from bowerbird.serving.feedback import Feedback
from bowerbird.serving.keys import KeyRing
from bowerbird.serving.limits import Limits
from bowerbird.serving.observer import Observer
from bowerbird.serving.sessions import SessionStore
from bowerbird.serving.shadow import Shadow
from bowerbird.serving.sink import EventSink, Mode


@dataclass(frozen=True)
class Served:
    """One server's parts. Of a request, `request.state` tells the rest.

    `request.state.owner` is the caller's key ("" without keys), put there by the guard; the routes put
    `model` (its id) and `tokens` (read, made) there, for the access log and the metrics, and where there is a sink
    a `note` of the answer for the events; who gives a request to a version under trial puts `arm` there.
    """

    engine: Engine
    limits: Limits
    observer: Observer
    keys: KeyRing | None = None
    """None: anybody on this machine may ask."""
    sessions: SessionStore | None = None
    """None: no states are kept, and the field `session` is refused."""
    feedback: Feedback | None = None
    """None: verdicts are not taken."""
    sink: EventSink | None = None
    """None: no events are recorded."""
    challengers: Challengers = field(default_factory=Challengers)
    """What is tried beside the models."""
    shadow: Shadow | None = None
    """None: without events, nobody would see what a challenger answers in the background."""
    since: int = field(default_factory=lambda: int(time.time()))
    """Unix seconds of the start."""

    @property
    def room(self) -> int:
        """Samples of one request that can be held at most."""
        return self.engine.slots + self.engine.queue

    @property
    def keeps_text(self) -> bool:
        """The words of answers are wanted after they were told: for verdicts on them, or for events."""
        return self.feedback is not None or self.events in ("sampled", "full")

    @property
    def events(self) -> Mode:
        """What is recorded of requests."""
        return "off" if self.sink is None else self.sink.mode
