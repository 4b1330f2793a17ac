"""Makes a challenger: from new data through fine-tuning and the gates to the registry."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bowerbird import lifecycle
from bowerbird.base.config import dotted
from bowerbird.base.errors import NotFound
from bowerbird.base.journal import Listener
from bowerbird.data.dataset import Dataset
from bowerbird.evaluation.report import Report
from bowerbird.kinds.loaded import Model
from bowerbird.monitoring.decisions import Decision, decisions
from bowerbird.monitoring.domains import joined
from bowerbird.monitoring.gates import Gate, better, main_row, no_less_novel, not_worse, safe_files
from bowerbird.monitoring.sieve import Gathered
from bowerbird.monitoring.wanted import Wanted, gathered_for, live_version, of_version, old_data, too_little
from bowerbird.store import signing
from bowerbird.store.rollout import Rollout, write_rollout
from bowerbird.workspace import Workspace

if TYPE_CHECKING:
    from bowerbird.runs.run import Run

CHALLENGER = "challenger"
"""The alias of the version that is on trial."""
_DATA = ("new", "dataset", "run", "run.dataset", "old")
"""Of an update's folder, what holds data or was made of it."""


class Making:
    """One update, from its data to its decision.

    Args:
        wanted: what to do.
        space: where the name is published.
        folder: of the name's updates, held.
        tell: is told what is being done, a line a stage.
    """

    def __init__(self, wanted: Wanted, space: Workspace, folder: Path, tell: Callable[[str], None]):
        self.wanted = wanted
        self.space = space
        self.live, self.version = live_version(wanted.name, space)
        self.old = old_data(self.live, space, wanted)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.work = Path(tempfile.mkdtemp(prefix=f"{stamp}-", dir=folder))
        self._tell = tell
        self._numbers: dict[str, Any] = {"live": of_version(self.version), "work": str(self.work)}

    def decision(self, listener: Callable[[Dataset], Listener] | None, skip_known: bool) -> Decision:
        """See `update`."""
        try:
            return self._decision(listener, skip_known)
        except BaseException:
            if not any((self.work / name).exists() for name in ("run", "dataset")):
                shutil.rmtree(self.work, ignore_errors=True)  # it failed before anything was made
            raise

    def _decision(self, listener: Callable[[Dataset], Listener] | None, skip_known: bool) -> Decision:
        self._tell("gathering new data")
        gathered = gathered_for(self.wanted, self.live, self.space, self.old, self.work)
        if gathered is not None:
            self._numbers["gathered"] = gathered.to_json()
            if skip_known and gathered.digest == _last_digest(self.space, self.wanted.name):
                shutil.rmtree(self.work, ignore_errors=True)
                return self._decided("steady", "there is no data that the last update was not made of")
        if short := too_little(gathered, self.wanted.config):
            return self._refused([Gate("enough new data", False, short)])
        new = self._prepared(gathered)
        self._tell(f"fine-tuning version {self.version.version}")
        run = self._finetuned(new, listener)
        self._tell("judging both versions on old and new data")
        gates = self._judged(run)
        if all(gate.passed for gate in gates):
            return self._published(run.path, gates)
        return self._refused(gates)

    def _prepared(self, gathered: Gathered | None) -> Dataset:
        """The new domain's own dataset, with a part that is held out."""
        config = self.wanted.config
        settings = dotted({"split": config.split.model_dump(mode="json")})
        if gathered is None:
            sources = self.wanted.sources
            settings += dotted({"gather": config.gather.read.model_dump(mode="json")})
        else:
            sources = [str(gathered.folder)]
            settings += dotted({"normalise": self.live.normaliser.model_dump(mode="json")})
            settings.append("clean.near_duplicates=false")  # the sieve has seen to them
        return lifecycle.prepare(
            sources,
            self.work / "dataset",
            kind=self.live.kind.name,
            seed=self.wanted.seed,
            settings=settings,
            workspace=self.space,
        )

    def _finetuned(self, new: Dataset, listener: Callable[[Dataset], Listener] | None) -> Run:
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

    def _judged(self, run: Run) -> list[Gate]:
        """Both versions on what is held out of old and new data, and what the gates say to it."""
        policy = self.wanted.config.policy
        challenger = lifecycle.load(run.path, workspace=self.space)
        bundle = challenger.bundle.path
        public = self._sign(bundle)
        names = ["old data"] if len(self.old) == 1 else [f"old data {at + 1}" for at in range(len(self.old))]
        # New data first: its report goes into the run, and so into the scores of the version, and what is normal for
        # it becomes what `monitor` compares the new version's traffic with.
        on_new = self._report(challenger, run.dataset(), run.path / "report")
        on_old = [
            self._report(challenger, dataset, self.work / name.replace(" ", "-"))
            for name, dataset in zip(names, self.old, strict=True)
        ]
        self._numbers["challenger"] = {"digest": challenger.digest, "run": str(run.path)}
        self._numbers["scores"] = {
            name: main_row(report)
            for name, report in zip([*names, "new data"], [*on_old, on_new], strict=True)
        }
        gates = [not_worse(report, policy, name) for name, report in zip(names, on_old, strict=True)]
        if not self.old:
            why = (
                f"what version {self.version.version} learnt from is not known here: name it by --old DATASET"
            )
            gates.append(Gate("not worse on old data", False, why))
        gates.append(better(on_new, policy))
        if self.old:
            gates.append(no_less_novel(on_old, on_new, policy))
        gates.append(safe_files(bundle, self.live.bundle.path, public))
        return gates

    def _report(self, challenger: Model, dataset: Dataset, out: Path) -> Report:
        return lifecycle.evaluate(
            challenger,
            dataset=dataset,
            against=self.live,
            out=out,
            seed=self.wanted.seed,
            settings=dotted(self.wanted.config.judge.model_dump(mode="json")),
            workspace=self.space,
        )

    def _sign(self, bundle: Path) -> Path | None:
        """Sign the challenger where a key is given, and give back its public one, which must be beside it."""
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
        name, space, wanted = self.wanted.name, self.space, self.wanted
        self._numbers["gates"] = [gate.to_json() for gate in gates]
        said = "; ".join(f"{gate.name}: {gate.why}" for gate in gates)
        why = f"update of version {self.version.version}: {said}"
        found = lifecycle.publish(run, name, alias=CHALLENGER, why=why, workspace=space)
        self._numbers["challenger"] |= of_version(found)
        if wanted.now and wanted.mode is None:
            lifecycle.promote(name, found.version, why=f"update, by consent: {said}", workspace=space)
            return self._decided("promoted", said)
        rollout = Rollout(
            name=name,
            version=found.version,
            digest=found.digest,
            live_version=self.version.version,
            live_digest=self.version.digest,
            mode=wanted.mode or "shadow",
            share=wanted.share if wanted.mode == "share" else 1.0,
        )
        write_rollout(space.root, rollout)
        self._numbers["rollout"] = rollout.model_dump(mode="json")
        told = (
            "gets copies of requests"
            if rollout.mode == "shadow"
            else f"answers {rollout.share:.0%} of callers"
        )
        return self._decided("on trial", f"version {found.version} {told}; {said}")

    def _refused(self, gates: Sequence[Gate]) -> Decision:
        """Say no, and keep what tells why, but not the data: it may be somebody's poison."""
        self._numbers["gates"] = [gate.to_json() for gate in gates]
        for name in _DATA:
            shutil.rmtree(self.work / name, ignore_errors=True)
        return self._decided(
            "refused", "; ".join(f"{gate.name}: {gate.why}" for gate in gates if not gate.passed)
        )

    def _decided(self, decision: Any, why: str) -> Decision:
        return Decision(self.wanted.name, decision, why, self._numbers)


def _last_digest(space: Workspace, name: str) -> str | None:
    """Of the data that the last update was made of."""
    made = [line["gathered"]["digest"] for line in decisions(space.root, name) if line.get("gathered")]
    return made[-1] if made else None
