"""The command that brings a model up to date: update."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from bowerbird.base.errors import Refused, UsageError
from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.options import BUDGET, OUTPUT, SETTINGS, Budget, Output, Settings

if TYPE_CHECKING:
    from bowerbird.monitoring.deciding import Consent
    from bowerbird.monitoring.decisions import Decision
    from bowerbird.monitoring.store import EventStore
    from bowerbird.monitoring.wanted import Wanted
    from bowerbird.workspace import Workspace


def update(
    name: str,
    *,
    data: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    feedback: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
    policy: Path | None = None,
    mode: Literal["shadow", "share"] | None = None,
    share: float = 0.1,
    stop: Annotated[bool, Parameter(negative="")] = False,
    watch: Annotated[bool, Parameter(negative="")] = False,
    old: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    key: Path | None = None,
    events_store: str | None = None,
    seed: int = 1,
    budget: Budget = BUDGET,
    settings: Settings = SETTINGS,
    output: Output = OUTPUT,
) -> None:
    """Fine-tune what is live on new data, judge both, try the new version beside it, and promote it or take it back.

    Example: bowerbird update poems --data new-poems/ --minutes 10

    The new version must be no worse on old data, better on new data and no less novel, and its files safe; else the
    exit code is 5 and the reasons are told. It is then on trial: servers of this workspace give it copies of requests
    (--mode shadow) or a share of callers (--mode share). Called again without new data, it compares the two. Nothing
    becomes live without --yes, which promotes now unless harm was found, or a --policy, which waits until the trial has
    shown what it wants. Every decision is in the promotion log (bowerbird versions NAME --log), and with all its
    numbers in updates/NAME.jsonl in the workspace.

    Parameters
    ----------
    name
        A name in the registry.
    data
        Files, folders, globs, archives or demo data to learn from; may be given many times.
    feedback
        Learn from approved feedback too: corrections, and answers that were found good.
    dry_run
        Show what would be learnt and done; nothing is trained or kept.
    yes
        Promote what passes the gates now; with --mode, or on trial already, what the trial found no harm in.
    policy
        A YAML file of margins and of how long a trial is, which is standing consent to promote by it.
    mode
        How it is tried: shadow (unless given) or share.
    share
        With --mode share, the share of callers that it answers.
    stop
        End the trial; the live version stays.
    watch
        Look every so often until Ctrl-C: decide on the trial, and begin an update when what is asked has drifted.
    old
        A dataset that the live version learnt from, where it is not known here; may be given many times.
    key
        A private key to sign the new version with; its public key lies beside it as KEY.pub.
    events_store
        Where events are recorded, as an SQLAlchemy URL; by default in the workspace.
    seed
        Of the split, the training and the intervals.
    """
    from bowerbird.base.config import resolve
    from bowerbird.monitoring.deciding import Consent, check_consent
    from bowerbird.monitoring.policy import Policy
    from bowerbird.monitoring.update_config import UpdateConfig
    from bowerbird.monitoring.wanted import Wanted

    consent = Consent(by_hand=yes, by_policy=policy is not None)
    check_consent(consent, name)
    config = resolve(UpdateConfig, config_file=settings.config, settings=settings.set, where="update")
    if policy is not None:
        stated = resolve(Policy, config_file=policy, where=str(policy))
        config = config.model_copy(update={"policy": stated})
    wanted = Wanted(
        name,
        sources=data,
        feedback=feedback,
        minutes=budget.minutes,
        steps=budget.steps,
        old=old,
        mode=mode,
        share=share,
        now=yes,
        key=key,
        passphrase=_passphrase(key),
        seed=seed,
        config=config,
    )
    workspace = space(output)
    _check(wanted, stop=stop, watch=watch, dry_run=dry_run)
    if watch:
        _watch(wanted, workspace, consent, events_store, output)
        return
    _tell(_done(wanted, workspace, consent, events_store, output, stop=stop, dry_run=dry_run), output)


def _done(
    wanted: Wanted,
    workspace: Workspace,
    consent: Consent,
    events_store: str | None,
    output: Output,
    *,
    stop: bool,
    dry_run: bool,
) -> Decision:
    """The one thing that is asked for: to stop, to compare, to plan, or to update."""
    from bowerbird.monitoring import deciding
    from bowerbird.monitoring.update import plan, update

    if stop:
        return deciding.stop(wanted.name, workspace)
    if dry_run and (wanted.sources or wanted.feedback):
        return plan(wanted, workspace)
    if not wanted.sources and not wanted.feedback:
        store = _store(events_store, workspace)
        agreed = deciding.Consent() if dry_run else consent
        try:
            return deciding.decide(wanted.name, workspace, store, consent=agreed, policy=wanted.config.policy)
        finally:
            if store is not None:
                store.close()
    return show.stage(
        output,
        update,
        wanted,
        workspace,
        listener=lambda dataset: show.follow(output, dataset),
        tell=lambda line: show.note(output, f"{line} ..."),
    )


def _watch(
    wanted: Wanted, workspace: Workspace, consent: Consent, events_store: str | None, output: Output
) -> None:
    """With --yes nobody looks on, so that a trial must show as much as by a policy."""
    from bowerbird.monitoring.deciding import Consent
    from bowerbird.monitoring.watch import Watch

    wanted.check()
    told: list[str] = []

    def tell(decision: Decision) -> None:
        said = f"{decision.decision}: {decision.why}"
        if told[-1:] == [said] and not output.json:
            return
        told.append(said)
        show.result(output, decision.to_json(), [said])

    Watch(
        wanted,
        workspace,
        lambda: _store(events_store, workspace),
        Consent(by_policy=consent.given),
        listener=lambda dataset: show.follow(output, dataset),
        tell=lambda line: show.note(output, f"{line} ..."),
    ).run(threading.Event(), tell)


def _check(wanted: Wanted, *, stop: bool, watch: bool, dry_run: bool) -> None:
    """Raises UsageError: what is asked for does not go together."""
    new = bool(wanted.sources or wanted.feedback)
    if stop and (new or watch or dry_run or wanted.now):
        raise UsageError("--stop goes with nothing else", hint=f"bowerbird update {wanted.name} --stop")
    if watch and dry_run:
        raise UsageError("--watch and --dry-run do not go together", hint="leave one out")
    if new:
        wanted.check()


def _store(place: str | None, workspace: Workspace) -> EventStore | None:
    """Where events are; None where none were recorded yet."""
    from bowerbird.base.errors import NotFound
    from bowerbird.cli.events import place_of
    from bowerbird.monitoring.store import EventStore

    try:
        return EventStore(place_of(place, workspace), create=False)
    except NotFound:
        if place is not None:
            raise
        return None


def _passphrase(key: Path | None) -> str | None:
    """From BOWERBIRD_PASSPHRASE, or asked for, where the key needs one."""
    if key is None:
        return None
    from bowerbird.cli.securing import read_passphrase
    from bowerbird.store.signing import is_protected

    return read_passphrase(None) if is_protected(key) else None


def _tell(decision: Decision, output: Output) -> None:
    """What was decided, and what to do next.

    Raises:
        Refused: a gate held; the reasons were told.
    """
    told = decision.to_json()
    lines = _lines(told)
    then = {
        "planned": f"bowerbird update {decision.name} --data ...",
        "on trial": f"bowerbird update {decision.name}",
        "waiting": f"bowerbird update {decision.name} --yes",
        "promoted": f"bowerbird versions {decision.name} --log",
        "rolled back": f"bowerbird versions {decision.name} --log",
    }
    if decision.decision == "refused" and not output.json:
        for line in lines[1:]:
            show.note(output, line)
    else:
        show.result(output, told, lines, then.get(decision.decision))
    if decision.decision == "refused":
        raise Refused(
            f"version {told['live']['version']} of `{decision.name}` stays live: {decision.why}",
            where=told.get("work"),
            hint="gathered.jsonl there says what became of each document"
            if (told.get("gathered"))
            else "the reports there say more",
        )


def _lines(told: dict[str, Any]) -> list[str]:
    lines = [f"{told['name']}: {told['decision']}"]
    if gathered := told.get("gathered"):
        left = ", ".join(f"{count:,} {reason}" for reason, count in gathered["refused"].items()) or "none"
        lines.append(
            f"new data: {gathered['documents']:,} documents, {gathered['characters']:,} characters, "
            f"{gathered['model_made']:.0%} made by a model; left out: {left}"
        )
    for gate in told.get("gates") or []:
        lines.append(f"{'passed' if gate['passed'] else 'HELD  '}  {gate['name']}: {gate['why']}")
    if not told.get("gates"):
        lines.append(told["why"])
    elif told["decision"] == "on trial":
        rollout = told["rollout"]
        lines.append(
            f"version {rollout['version']} is on trial beside version {rollout['live_version']} ({rollout['mode']})"
        )
    if compared := told.get("comparison"):
        for arm in ("live", "challenger"):
            one = compared[arm]
            seconds = "-" if one["median_seconds"] is None else f"{one['median_seconds']:.3f} s"
            lines.append(
                f"{arm}: {one['requests']:,} requests, {one['failed']:,} failed, {seconds} in the middle, "
                f"{one['up']:,} good and {one['down']:,} bad verdicts"
            )
        if prompts := compared["prompts"]:
            lines.append(
                f"{prompts['n']:,} prompts take the challenger {prompts['challenger']:.3f} bits per byte, "
                f"the live version {prompts['live']:.3f}"
            )
    return lines


def add(app: App) -> None:
    app.command(update)
