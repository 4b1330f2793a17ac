"""An update: new data gathered, the live version fine-tuned on it, both judged, and a challenger put on trial.

    WORKSPACE/updates/NAME/STAMP/    new/, dataset/, run/, old-1.json, new.json: what it was made of
    WORKSPACE/updates/NAME.jsonl     every decision, with its numbers

Nothing becomes live without consent: a person's, here and now, or a policy's, once a trial has shown enough.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bowerbird import lifecycle
from bowerbird.base.config import dotted
from bowerbird.base.errors import DataError, NotFound, Refused, UsageError
from bowerbird.base.files import held, private_folder, storage_errors
from bowerbird.base.journal import Listener
from bowerbird.data.dataset import Dataset
from bowerbird.data.markers import plain
from bowerbird.evaluation.report import Report
from bowerbird.kinds.loaded import Model
from bowerbird.monitoring import feedback as verdicts_in
from bowerbird.monitoring.decisions import FOLDER, Decision, decisions, note
from bowerbird.monitoring.domains import essences, joined, learnt_from
from bowerbird.monitoring.gather import gather
from bowerbird.monitoring.gates import Gate, better, main_row, no_less_novel, not_worse, safe_files
from bowerbird.monitoring.sieve import Gathered, essence
from bowerbird.monitoring.update_config import UPDATE_CONFIG, UpdateConfig
from bowerbird.store import signing
from bowerbird.store.registry.version import Version
from bowerbird.store.rollout import Mode, Rollout, read_rollout, write_rollout
from bowerbird.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

CHALLENGER = "challenger"
"""The alias of the version that is on trial."""


@dataclass(frozen=True)
class Wanted:
    """What an update is asked to do."""

    name: str
    sources: Sequence[str] = ()
    feedback: bool = False
    """Learn from approved feedback too."""
    minutes: float | None = None
    steps: int | None = None
    old: Sequence[Path] = ()
    """Datasets that the live version learnt from, where they are not known here."""
    mode: Mode | None = None
    """How the challenger is tried; None: as a shadow, unless `now`."""
    share: float = 0.1
    now: bool = False
    """A person's consent: what passes the gates becomes live without a trial, unless a `mode` is named."""
    key: Path | None = None
    """A private key to sign the challenger with; its public one lies beside it, as `KEY.pub`."""
    passphrase: str | None = None
    seed: int = 1
    config: UpdateConfig = UPDATE_CONFIG

    def check(self) -> None:
        """Raises UsageError: there is nothing to learn from, or the share is none."""
        if not self.sources and not self.feedback:
            raise UsageError(
                "an update needs something new to learn from",
                hint=f"bowerbird update {self.name} --data FOLDER, or --feedback",
            )
        if not 0 < self.share <= 1:
            raise UsageError(f"--share must be above 0 and at most 1, not {self.share:g}")


def plan(wanted: Wanted, space: Workspace) -> Decision:
    """What an update would do; nothing is kept of it."""
    wanted.check()
    live, version = live_version(wanted.name, space)
    old = _old(live, space, wanted)
    with tempfile.TemporaryDirectory(prefix="bowerbird-update-") as folder:
        gathered = _gathered(wanted, live, space, old, Path(folder))
    steps = f"{wanted.steps:,} steps" if wanted.steps else f"{wanted.minutes or 3:g} minutes"
    mixed = wanted.config.mix if live.kind.name != "image" else 0.0
    after = "live at once" if wanted.now and wanted.mode is None else f"tried as {wanted.mode or 'shadow'}"
    why = (
        f"{wanted.name}@{version.version} would be fine-tuned for {steps} with {mixed:.0%} of each batch from "
        f"{len(old)} old datasets, and {after} if all gates let it through"
    )
    short = _too_little(gathered, wanted.config)
    numbers = {
        "live": _of(version),
        "gathered": None if gathered is None else gathered.to_json(),
        "old": [str(dataset.path) for dataset in old],
        "policy": wanted.config.policy.model_dump(mode="json"),
    }
    return Decision(wanted.name, "planned", f"nothing would be learnt: {short}" if short else why, numbers)


def update(
    wanted: Wanted,
    space: Workspace,
    *,
    listener: Callable[[Dataset], Listener] | None = None,
    tell: Callable[[str], None] = lambda line: None,
    skip_known: bool = False,
) -> Decision:
    """Make a challenger, and put it on trial or, with consent, live. Every decision is logged.

    Args:
        wanted: what to do.
        space: where the name is published.
        listener: gives what is told of the training over a dataset.
        tell: is told what is being done, a line a stage.
        skip_known: decide `steady` where the last update was made of the very same data.

    Raises:
        NotFound: nothing is published under the name.
        UsageError: there is nothing to learn from.
        Refused: another update of the name is under way, or on trial.
    """
    wanted.check()
    with held_update(wanted.name, space) as folder:
        trial = read_rollout(space.root, wanted.name)
        if trial is not None:
            raise Refused(
                f"{wanted.name}@{trial.version} is on trial already",
                where=f"{wanted.name}@{CHALLENGER}",
                hint=f"decide on it first: bowerbird update {wanted.name} --yes, or --stop",
            )
        made = _Making(wanted, space, folder, tell)
        decision = made.decision(listener, skip_known)
        if decision.decision != "steady":
            note(space.root, decision)
        return decision


@contextmanager
def held_update(name: str, space: Workspace) -> Iterator[Path]:
    """The folder of a name's updates, held for one process.

    Raises:
        Refused: another process holds it.
    """
    folder = space.root / FOLDER / name
    private_folder(folder)
    with held(folder, f"another update of `{name}` is under way"):
        yield folder


def live_version(name: str, space: Workspace) -> tuple[Model, Version]:
    """What is live under a name.

    Raises:
        NotFound: nothing is.
    """
    version = space.registry.find(name)
    return lifecycle.load(f"{name}@{version.version}", workspace=space), version


class _Making:
    """One update, from its data to its decision."""

    def __init__(self, wanted: Wanted, space: Workspace, folder: Path, tell: Callable[[str], None]):
        self.wanted = wanted
        self.space = space
        self.tell = tell
        self.live, self.version = live_version(wanted.name, space)
        self.old = _old(self.live, space, wanted)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.work = Path(tempfile.mkdtemp(prefix=f"{stamp}-", dir=folder))
        self.numbers: dict[str, Any] = {"live": _of(self.version), "work": str(self.work)}

    def decision(self, listener: Callable[[Dataset], Listener] | None, skip_known: bool) -> Decision:
        self.tell("gathering")
        gathered = _gathered(self.wanted, self.live, self.space, self.old, self.work)
        if gathered is not None:
            self.numbers["gathered"] = gathered.to_json()
            if skip_known and gathered.digest == _last_digest(self.space, self.wanted.name):
                self._forget("new", "gathered.jsonl", everything=True)
                return self._decided("steady", "the last update was made of the same data")
        if short := _too_little(gathered, self.wanted.config):
            return self._refused(short, [Gate("enough new data", False, short)])
        new = self._prepared(gathered)
        self.tell("fine-tuning")
        run = self._finetuned(new, listener)
        self.tell("judging")
        gates = self._judged(run, new)
        self.numbers["gates"] = [gate.to_json() for gate in gates]
        held_by = [gate for gate in gates if not gate.passed]
        if held_by:
            return self._refused("; ".join(f"{gate.name}: {gate.why}" for gate in held_by), gates)
        return self._published(run.path, gates)

    def _prepared(self, gathered: Gathered | None) -> Dataset:
        """The new domain's own dataset, with a part that is held out."""
        config = self.wanted.config
        settings = [f"split.valid={config.split.valid}", f"split.test={config.split.test}"]
        sources: Sequence[str] = self.wanted.sources
        if gathered is not None:
            sources = [str(gathered.folder)]
            settings += [f"normalise.{key}" for key in dotted(self.live.normaliser.model_dump(mode="json"))]
            settings.append("clean.near_duplicates=false")  # the sieve has seen to it
            if self.live.structure != "chat":
                settings.append("gather.column=text")
        else:
            settings += [f"gather.{key}" for key in dotted(config.gather.read.model_dump(mode="json"))]
        return lifecycle.prepare(
            sources,
            self.work / "dataset",
            kind=self.live.kind.name,
            seed=self.wanted.seed,
            settings=settings,
            workspace=self.space,
        )

    def _finetuned(self, new: Dataset, listener: Callable[[Dataset], Listener] | None) -> Any:
        config = self.wanted.config
        settings = dotted(config.finetune)
        if self.old and config.mix and self.live.kind.name != "image":
            with_old = joined(self.old, self.live, self.work / "old")
            settings += [f"mix.dataset={with_old.path}", f"mix.share={config.mix}"]
        return lifecycle.finetune(
            self.live,
            new,
            self.work / "run",
            minutes=self.wanted.minutes,
            steps=self.wanted.steps,
            seed=self.wanted.seed,
            settings=settings,
            listener=None if listener is None else listener(new),
            workspace=self.space,
        )

    def _judged(self, run: Any, new: Dataset) -> list[Gate]:
        """Both versions on what is held out of old and new data, and what the gates say to it."""
        policy = self.wanted.config.policy
        challenger = lifecycle.load(run.path, workspace=self.space)
        on_old = [
            self._report(challenger, dataset, self.work / f"old-{at}") for at, dataset in enumerate(self.old, 1)
        ]
        # The report on the new data goes into the run, and so into the scores of the version.
        on_new = self._report(challenger, new, run.path / "report")
        self.numbers["challenger"] = {"digest": challenger.digest, "run": str(run.path)}
        self.numbers["scores"] = {
            f"old {at}" if report is not on_new else "new": main_row(report)
            for at, report in enumerate([*on_old, on_new], 1)
        }
        public = self._sign(challenger.bundle.path)
        gates = [
            not_worse(report, policy, "old data" if len(on_old) == 1 else f"old data {at}")
            for at, report in enumerate(on_old, 1)
        ]
        if not on_old:
            why = "what the live version learnt from is not known here: name it by --old DATASET"
            gates.append(Gate("not worse on old data", False, why))
        gates.append(better(on_new, policy))
        if on_old:
            gates.append(no_less_novel(on_old, on_new, policy))
        gates.append(safe_files(challenger.bundle.path, self.live.bundle.path, public))
        return gates

    def _report(self, challenger: Model, dataset: Dataset, out: Path) -> Report:
        settings = dotted(self.wanted.config.judge.model_dump(mode="json"))
        return lifecycle.evaluate(
            challenger,
            dataset=dataset,
            against=self.live,
            out=out,
            seed=self.wanted.seed,
            settings=settings,
            workspace=self.space,
        )

    def _sign(self, bundle: Path) -> Path | None:
        """Sign the challenger where a key is given; the public key beside it, which must be there."""
        key = self.wanted.key
        if key is None:
            return None
        public = key.with_name(f"{key.name}.pub")
        if not public.is_file():
            raise NotFound("the public key is not beside the private one", where=public)
        signing.sign(bundle, key, self.wanted.passphrase)
        return public

    def _published(self, run: Path, gates: Sequence[Gate]) -> Decision:
        """The next version, as the challenger; then live, or on trial."""
        name, space = self.wanted.name, self.space
        said = "; ".join(gate.why for gate in gates[:-1])
        found = lifecycle.publish(
            run, name, alias=CHALLENGER, why=f"update of version {self.version.version}: {said}", workspace=space
        )
        if found.digest == self.version.digest:
            return self._refused("fine-tuning changed nothing: the challenger is the live version", gates)
        self.numbers["challenger"] = {**self.numbers["challenger"], **_of(found)}
        if self.wanted.now and self.wanted.mode is None:
            lifecycle.promote(name, found.version, why=f"update, by consent: {said}", workspace=space)
            return self._decided("promoted", said)
        rollout = Rollout(
            name=name,
            version=found.version,
            digest=found.digest,
            live_version=self.version.version,
            live_digest=self.version.digest,
            mode=self.wanted.mode or "shadow",
            share=self.wanted.share if self.wanted.mode == "share" else 1.0,
        )
        write_rollout(space.root, rollout)
        self.numbers["rollout"] = rollout.model_dump(mode="json")
        how = "gets copies of requests" if rollout.mode == "shadow" else f"answers {rollout.share:.0%} of callers"
        return self._decided("on trial", f"{name}@{found.version} {how}; {said}")

    def _refused(self, why: str, gates: Sequence[Gate]) -> Decision:
        """Say no, and keep what tells why, not the data: it may be somebody's poison."""
        self.numbers["gates"] = [gate.to_json() for gate in gates]
        self._forget("new", "dataset", "run", "run.dataset", "old")
        return self._decided("refused", why)

    def _decided(self, decision: Any, why: str) -> Decision:
        return Decision(self.wanted.name, decision, why, self.numbers)

    def _forget(self, *names: str, everything: bool = False) -> None:
        with storage_errors(self.work):
            for path in [self.work] if everything else [self.work / name for name in names]:
                shutil.rmtree(path, ignore_errors=True)


def _old(live: Model, space: Workspace, wanted: Wanted) -> list[Dataset]:
    found = learnt_from(live, space, wanted.old)
    other = next((dataset for dataset in found if dataset.kind != live.kind.name), None)
    if other is not None:
        raise DataError(f"a {live.kind.name} model did not learn from {other.kind} data", where=other.path)
    return found


def _gathered(
    wanted: Wanted, live: Model, space: Workspace, old: Sequence[Dataset], work: Path
) -> Gathered | None:
    """What is new, through the sieve; None for tunes and pictures, which `prepare` reads as they are."""
    if live.kind.name != "text":
        if wanted.feedback:
            raise UsageError(
                f"feedback is words, and a {live.kind.name} model does not learn from them", hint="give --data"
            )
        return None
    learnt = essences(old)
    given = verdicts_in.read(space.root / "feedback", wanted.name) if wanted.feedback else ()
    return gather(
        work,
        wanted.config.gather,
        sources=wanted.sources,
        verdicts=given,
        chat=live.structure == "chat",
        known=lambda text: essence(plain(live.normaliser(text))) in learnt or essence(text) in learnt,
    )


def _too_little(gathered: Gathered | None, config: UpdateConfig) -> str:
    """What new data lacks, and what became of the rest; empty where there is enough."""
    if gathered is None:
        return ""
    rules = config.gather
    enough = gathered.characters >= rules.least_characters and gathered.documents >= rules.least_documents
    if enough:
        return ""
    left = ", ".join(f"{count:,} {reason}" for reason, count in gathered.refused.items()) or "there was no more"
    return (
        f"{gathered.documents:,} documents of {gathered.characters:,} characters are left, and "
        f"{rules.least_documents:,} of {rules.least_characters:,} are wanted; left out: {left}"
    )


def _last_digest(space: Workspace, name: str) -> str | None:
    """Of the data that the last update was made of."""
    made = [line["gathered"]["digest"] for line in decisions(space.root, name) if line.get("gathered")]
    return made[-1] if made else None


def _of(version: Version) -> dict[str, Any]:
    return {"version": version.version, "digest": version.digest}
