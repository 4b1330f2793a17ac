"""The end of a trial: a challenger is promoted, or taken back, or goes on being tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bowerbird import lifecycle
from bowerbird.base.errors import BowerbirdError, NotFound, UsageError
from bowerbird.monitoring import feedback as verdicts_in
from bowerbird.monitoring.comparison import Comparison, compare
from bowerbird.monitoring.decisions import Decision, note
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.making import CHALLENGER
from bowerbird.monitoring.policy import POLICY, Policy
from bowerbird.monitoring.store import EventStore
from bowerbird.monitoring.wanted import held_update, live_version
from bowerbird.store.registry.naming import LIVE
from bowerbird.store.rollout import Rollout, end_rollout, read_rollout
from bowerbird.workspace import Workspace


@dataclass(frozen=True)
class Consent:
    """Who agrees that a challenger becomes live."""

    by_hand: bool = False
    """A person, here and now: it need not have seen all that the policy wants, but no harm must have been found."""
    by_policy: bool = False
    """A policy that was given as a file: once the trial has shown what it wants."""

    @property
    def given(self) -> bool:
        return self.by_hand or self.by_policy


def decide(
    name: str,
    space: Workspace,
    store: EventStore | None,
    *,
    consent: Consent,
    policy: Policy = POLICY,
    now: float | None = None,
) -> Decision:
    """Look at the trial of a name, and end it where there is consent and reason to. A decision is logged.

    Args:
        name: what is on trial.
        space: where.
        store: the events; None where none were recorded.
        consent: who agrees.
        policy: what the trial must show.
        now: Unix seconds; by default the clock's.

    Raises:
        NotFound: nothing is on trial.
        Refused: another update of the name is under way.
    """
    with held_update(name, space):
        rollout = read_rollout(space.root, name)
        if rollout is None:
            raise NotFound(
                f"nothing is on trial under `{name}`",
                hint=f"make a challenger: bowerbird update {name} --data FOLDER",
            )
        live, version = live_version(name, space)
        if version.digest == rollout.digest:
            end_rollout(space.root, name)
            decision = Decision(name, "promoted", f"version {version.version} went live already")
            note(space.root, decision)
            return decision
        if version.digest != rollout.live_digest:
            why = f"version {version.version} went live meanwhile, and it was tried against {rollout.live_version}"
            return _taken_back(rollout, space, why, {})
        challenger = lifecycle.load(f"{name}@{rollout.version}", workspace=space)
        events = _events(store, name, rollout)
        given = verdicts_in.read(space.root / "feedback", name)
        found = compare(rollout, events, given, policy, live=live, challenger=challenger, now=now)
        return _decision(rollout, space, found, consent, policy)


def stop(name: str, space: Workspace, why: str = "taken back by hand") -> Decision:
    """End a trial whatever it has shown; the live version stays.

    Raises:
        NotFound: nothing is on trial.
    """
    with held_update(name, space):
        try:
            rollout = read_rollout(space.root, name)
        except BowerbirdError:
            end_rollout(space.root, name)  # a damaged record is no reason to go on
            decision = Decision(name, "rolled back", f"{why}; the record of the trial was damaged")
            note(space.root, decision)
            return decision
        if rollout is None:
            raise NotFound(f"nothing is on trial under `{name}`", hint=f"bowerbird versions {name} --log")
        return _taken_back(rollout, space, why, {})


def _decision(
    rollout: Rollout, space: Workspace, found: Comparison, consent: Consent, policy: Policy
) -> Decision:
    numbers = {"comparison": found.to_json(), "rollout": rollout.model_dump(mode="json")}
    name = rollout.name
    if found.finding == "worse":
        if consent.given:
            return _taken_back(rollout, space, found.why, numbers)
        return Decision(
            name, "waiting", f"{found.why}; take it back: bowerbird update {name} --stop", numbers
        )
    if consent.by_hand or (consent.by_policy and found.finding == "not worse"):
        said = "by consent" if consent.by_hand else "by policy"
        lifecycle.promote(name, rollout.version, why=f"update, {said}: {found.why}", workspace=space)
        end_rollout(space.root, name)
        decision = Decision(name, "promoted", f"{said}: {found.why}", numbers)
        note(space.root, decision)
        return decision
    if consent.by_policy and found.hours >= policy.most_hours:
        why = f"undecided after {found.hours:.0f} hours: {found.why}"
        return _taken_back(rollout, space, why, numbers)
    return Decision(name, "waiting", found.why, numbers)


def _taken_back(rollout: Rollout, space: Workspace, why: str, numbers: dict[str, Any]) -> Decision:
    """End the trial; the alias of the challenger goes to the live version, and the registry's log says why."""
    end_rollout(space.root, rollout.name)
    live = space.registry.find(rollout.name, LIVE)
    lifecycle.promote(
        rollout.name,
        live.version,
        alias=CHALLENGER,
        why=f"version {rollout.version} is taken back: {why}",
        workspace=space,
    )
    numbers = {**numbers, "rollout": rollout.model_dump(mode="json")}
    decision = Decision(rollout.name, "rolled back", why, numbers)
    note(space.root, decision)
    return decision


def _events(store: EventStore | None, name: str, rollout: Rollout) -> Iterator[Event]:
    """Of both versions since the trial began, whatever id they were asked for by."""
    if store is None:
        return
    for digest in (rollout.live_digest, rollout.digest):
        yield from store.read(digest=digest, since=rollout.since)


def check_consent(consent: Consent, name: str) -> None:
    """Raises UsageError: both are given."""
    if consent.by_hand and consent.by_policy:
        raise UsageError("give --yes or --policy, not both", hint=f"bowerbird update {name} --policy FILE")
