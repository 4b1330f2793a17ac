"""Keeps an eye on a name: a trial is decided when it has shown enough, and drift begins an update."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from bowerbird.base.errors import BowerbirdError
from bowerbird.base.journal import Listener
from bowerbird.data.dataset import Dataset
from bowerbird.monitoring.deciding import Consent, decide
from bowerbird.monitoring.decisions import Decision
from bowerbird.monitoring.monitor import monitor
from bowerbird.monitoring.store import EventStore
from bowerbird.monitoring.update import update
from bowerbird.monitoring.wanted import Wanted
from bowerbird.store.rollout import read_rollout
from bowerbird.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watch:
    """What is looked after, and how far it may go by itself."""

    wanted: Wanted
    space: Workspace
    store: Callable[[], EventStore | None]
    """Opens the events; None where there are none yet."""
    consent: Consent
    listener: Callable[[Dataset], Listener] | None = None
    tell: Callable[[str], None] = lambda line: None

    def look(self) -> Decision:
        """Look once.

        Raises:
            BowerbirdError: it could not be looked, or the update failed.
        """
        name = self.wanted.name
        store = self.store()
        try:
            if read_rollout(self.space.root, name) is not None:
                policy = self.wanted.config.policy
                return decide(name, self.space, store, consent=self.consent, policy=policy)
            if store is None:
                return Decision(name, "steady", "no events are recorded yet: bowerbird serve --events full")
            report = monitor(name, store=store, workspace=self.space)
        finally:
            if store is not None:
                store.close()
        if report.verdict != "moved":
            return Decision(name, "steady", report.verdict)
        # A trial comes first where nobody looks on: `now` is for a person who does.
        wanted = replace(self.wanted, now=False)
        self.tell("what is asked has moved away from what was learnt: an update begins")
        return update(wanted, self.space, listener=self.listener, tell=self.tell, skip_known=True)

    def run(self, stop: threading.Event, on_decision: Callable[[Decision], None]) -> None:
        """Look every so often, until it is to stop; what fails is logged, and tried again at the next look."""
        while not stop.is_set():
            try:
                on_decision(self.look())
            except BowerbirdError as error:
                if error.exit_code == 130:
                    raise
                log.warning("%s", " ".join(str(error).split()))
            stop.wait(self.wanted.config.every_seconds)
