"""Carries a run from where it is to where it should be: what is due after each step, and how it ends."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from bowerbird.base.device import check_precision, pick_device, seed_noise, use_threads
from bowerbird.base.errors import BudgetTooShort, Diverged, Interrupted
from bowerbird.base.journal import Journal
from bowerbird.data.dataset import Dataset
from bowerbird.kinds.kind import Kind, RunSettings, Validation
from bowerbird.learning.coach import Coach
from bowerbird.learning.loop import Learner, NotFinite, train_loop
from bowerbird.learning.pace import Pace
from bowerbird.runs.previews import show_preview, write_film
from bowerbird.runs.run import Run, checkpoint_name
from bowerbird.runs.saver import Saver
from bowerbird.runs.timing import EVALUATIONS, Timing
from bowerbird.store.bundle import open_checkpoint

SAVE_SECONDS = 20.0
LOG_SECONDS = 1.0
MAX_RESTARTS = 3


class Training:
    """The moving parts of one run in one process.

    `deadline` is on `clock`, None where steps are counted. `sitting` is a step to stop at as if asked to.
    """

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        learner: Learner,
        network: nn.Module,
        saver: Saver,
        journal: Journal,
        *,
        deadline: float | None,
        stop: threading.Event,
        sitting: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.run, self.dataset, self.learner, self.network = run, dataset, learner, network
        self.saver, self.journal, self.stop, self.clock = saver, journal, stop, clock
        self.kind: Kind = run.kind
        self.config: RunSettings = run.config  # type: ignore[assignment]  # each kind's record has these
        self.timing = Timing(deadline, clock, self.kind.validation)
        self.sitting = sitting
        self.pace = Pace()
        self.coach = Coach(patience=self.config.patience)
        self.watch = self.kind.watch() if self.kind.watch else None
        self.step = 0
        self.spent = 0.0
        self.began = clock()
        self._log_interval = max(LOG_SECONDS, (self.timing.budget or 0.0) / 1000)
        self._last_log = self._last_save = self._last_evaluation = clock()
        self._last_evaluated = -1
        self._steps_logged = 0
        self._evaluations = 0
        self._mean_loss = math.nan
        self._mean_seconds = 0.0

    # What a checkpoint holds beside tensors, and how it comes back.

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "pace": {"knots": self.pace.knots, "last_step": self.pace.last_step},
            "coach": self.coach.state(),
            **({"watch": self.watch.state()} if self.watch else {}),
            "mean_loss": None if math.isnan(self._mean_loss) else self._mean_loss,
            "seconds": self.seconds(),
            "seconds_left": self.timing.seconds_left(),
            "best": {"step": self.saver.best_step, "scores": self.saver.best_scores},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.step = self._steps_logged = int(state["step"])
        knots = [(int(step), float(at), float(slope)) for step, at, slope in state["pace"]["knots"]]
        self.pace = Pace(knots, state["pace"]["last_step"])
        self.coach = Coach(**{**state["coach"], "patience": self.config.patience})
        if self.kind.watch:
            self.watch = self.kind.watch(**state["watch"])
        self._mean_loss = math.nan if state["mean_loss"] is None else float(state["mean_loss"])
        self.spent = float(state["seconds"])
        self.saver.last_saved = self.step
        if state["best"]["step"] is not None:
            self.saver.mark_best(state["best"]["step"], state["best"]["scores"])

    def extend(self, steps: int | None) -> None:
        """Go on for `steps` more, or until the deadline, with new patience."""
        self.pace.extend(self.step, steps)
        self.coach.waited = 0
        self._last_evaluated = self.step

    def seconds(self) -> float:
        """Seconds this run has taken, in this process and those before."""
        return self.spent + self.clock() - self.began

    # The run.

    def train(self) -> str:
        """Train to the end; returns why it ended: steps, minutes or patience.

        Raises:
            Interrupted: it was asked to stop; the state is saved.
            BudgetTooShort: there is no time for a single step of a new run.
            Diverged: the loss stopped being a number three times over.
        """
        if self.step == 0:
            self.journal.write(event="start", step=0, settings=self.run.record["settings"])
            parameters = sum(parameter.numel() for parameter in self.network.parameters())
            for warning in self.kind.warnings(self.dataset, parameters):
                self.journal.write(event="warning", step=0, message=warning)
        self.kind.get_ready(self.network, self.dataset, self.timing.budget)
        if self.step == 0:
            self.evaluate()
        if self.timing.deadline is not None:
            self._plot()
            self._plot()  # again: the first also loaded the library, the second tells what the end will cost
        self.timing.begin(self.pace.progress(self.step))
        if self.step == 0 and self.timing.left() <= 0:
            needed = self.clock() - self.began - self.timing.left()
            raise BudgetTooShort(
                f"the time was over before the first step: setting up, looking at what is held out and saving "
                f"take {needed:.1f} s here",
                where=self.run.path,
                hint=f"give --minutes {math.ceil(needed / 6 * 2) / 10:.1f} or more",
            )
        batch = self.kind.batch(self.dataset, self.config)
        while True:
            self.step = train_loop(
                self.learner,
                batch,
                self.step,
                progress=self.pace.progress,
                finished=self.finished,
                on_step=self.on_step,
                on_not_finite=self.on_not_finite,
            )
            if self.stop.is_set():
                self.save()
                raise Interrupted(
                    f"stopped at step {self.step}; everything is saved",
                    where=self.run.path,
                    hint=f"bowerbird resume {self.run.path}",
                )
            if self._last_evaluated != self.step and not self.coach.out_of_patience:
                self.evaluate()
            elif self.saver.last_saved != self.step:
                self.save()
            over = self.pace.last_step is not None or self.coach.out_of_patience
            if over or not self.timing.worth_going_on():
                break
        return self._reason()

    def finished(self, step: int) -> bool:
        if self.sitting is not None and step >= self.sitting:
            self.stop.set()
        if self.stop.is_set() or self.coach.out_of_patience:
            return True
        if self.pace.last_step is not None:
            return step >= self.pace.last_step
        return self.timing.left() <= self._mean_seconds

    def _reason(self) -> str:
        if self.coach.out_of_patience:
            return "patience"
        return "minutes" if self.pace.last_step is None else "steps"

    def on_step(self, step: int, stats: dict[str, float]) -> None:
        self.step = step
        if self.watch:
            self.watch.note(stats)
        # An average over about fifty steps, steady enough to compare with the validation loss.
        self._mean_loss = (
            stats["loss"] if math.isnan(self._mean_loss) else 0.98 * self._mean_loss + 0.02 * stats["loss"]
        )
        now = self.clock()
        if self.pace.last_step is None:
            self.pace.climb(step, self.timing.progress())
        if now - self._last_log >= self._log_interval or step == self.pace.last_step:
            self._log(step, stats, now)
        if self._evaluation_due(step, now):
            self.evaluate()
        elif now - self._last_save >= SAVE_SECONDS:
            self.save()

    def _log(self, step: int, stats: dict[str, float], now: float) -> None:
        made = step - self._steps_logged
        if made <= 0:
            return
        per_step = (now - self._last_log) / made
        self._mean_seconds = per_step if not self._mean_seconds else 0.7 * self._mean_seconds + 0.3 * per_step
        self._last_log, self._steps_logged = now, step
        if self.pace.last_step is None:
            left = max((self.timing.deadline or now) - now, 0.0)
        else:
            left = (self.pace.last_step - step) * self._mean_seconds
        self.journal.write(
            event="train",
            step=step,
            **{**stats, "loss": self._mean_loss},
            steps_per_second=1 / per_step,
            seconds=self.seconds(),
            progress=self.pace.progress(step),
            seconds_left=left,
        )

    def _evaluation_due(self, step: int, now: float) -> bool:
        if step == self.pace.last_step:
            return True
        if self.config.evaluate_every is not None:
            return step % self.config.evaluate_every == 0
        if self.pace.last_step is not None:
            return step % max(1, self.pace.last_step // EVALUATIONS) == 0
        return now - self._last_evaluation >= self.timing.evaluation_interval()

    def evaluate(self) -> Validation:
        """Look at what is held out, let the coach judge, and save; the best so far is marked."""
        began = self.clock()
        self.learner.shipped()  # the network is then what a checkpoint would hold
        found = self.kind.validate(self.network, self.dataset, self.timing.quick_tokens)
        self.timing.evaluate_seconds, self.timing.tokens_validated = self.clock() - began, found.tokens
        self._last_evaluated = self.step
        comparable = self._mean_loss if self.kind.measure == "loss" else math.inf
        warnings = self.coach.judge(self.step, comparable, found.loss)
        for finding in self.watch.judge(self.step, found.scores) if self.watch else ():
            finding.apply(self.learner)
            warnings.append(finding.message)
        scores = {f"valid_{name}": value for name, value in found.scores.items()}
        self.journal.write(event="evaluate", step=self.step, seconds=self.seconds(), **scores)
        for warning in warnings:
            self.journal.write(event="warning", step=self.step, message=warning)
        if self.coach.out_of_patience:
            message = (
                f"no better than at step {self.coach.best_step} in {self.coach.waited} evaluations: stopping early; "
                "the best checkpoint is kept (--set patience=null never stops)"
            )
            self.journal.write(event="warning", step=self.step, message=message)
        self.save(best=found.scores if self.coach.is_best else None)
        self._evaluations += 1
        if self._evaluations % self.kind.preview.every == 0:
            show_preview(self.run, self.step, self.journal)
        self._last_evaluation = self._last_log = self.clock()
        self._steps_logged = self.step
        return found

    def save(self, best: dict[str, float] | None = None) -> None:
        """Save this step's checkpoint, once: what was saved is never written over."""
        if best is not None:
            self.saver.best_step, self.saver.best_scores = self.step, best
        if self.saver.last_saved != self.step:
            self.saver.save(self.step, self.learner, self.state())
            self.timing.save_seconds = self.saver.seconds
        if best is not None:
            self.saver.mark_best(self.step, best)
        self.saver.tidy()
        self._last_save = self.clock()

    def on_not_finite(self, step: int, error: NotFinite) -> int:
        """Back to the last good checkpoint with half the rate; after three times, give up."""
        self.coach.restarts += 1
        if self.coach.restarts > MAX_RESTARTS:
            raise Diverged(
                f"training diverged {self.coach.restarts} times: {error}",
                where=self.run.path,
                hint=f"train again with a lower rate: --set {self.kind.learning}.learning_rate=0.001",
            )
        restarts = self.coach.restarts
        folder = self.run.path / "checkpoints" / checkpoint_name(self.saver.last_saved)
        bundle, resume, state = open_checkpoint(folder)
        self.learner.restore(bundle.weights(), bundle.partners(), resume)
        self.learner.calm(0.5**restarts)
        seconds = self.seconds()
        self.restore(state)
        self.spent, self.began = seconds, self.clock()
        self.coach.restarts = restarts
        message = (
            f"the loss was not a finite number at step {step}; back to the checkpoint of step {self.step} "
            f"with the learning rate halved ({restarts} of {MAX_RESTARTS} tries)"
        )
        self.journal.write(event="warning", step=self.step, message=message)
        return self.step

    # The end.

    def final_scores(self) -> None:
        """Score the best checkpoint on more of what is held out; `best.json` gets what is found."""
        bundle = self.run.best_bundle()
        self.network.load_state_dict(bundle.weights())
        found = self.kind.validate(self.network, self.dataset, self.timing.final_tokens())
        step = int(bundle.manifest["step"])
        self.saver.mark_best(step, found.scores)
        self.journal.write(
            event="end",
            step=self.step,
            best_step=step,
            seconds=self.seconds(),
            tokens=found.tokens,
            **found.scores,
        )
        write_film(self.run)
        self._plot()

    def _plot(self) -> None:
        """Draw the curves; without matplotlib, say so once and go on."""
        from bowerbird.evaluation.curve import draw_curve

        began = self.clock()
        drawn = draw_curve(self.journal.read(), Path(self.run.path) / "loss.png")
        if not drawn and not self.timing.plot_seconds:
            self.journal.write(
                event="note", step=self.step, message="loss.png is not drawn: pip install 'bowerbird[eval]'"
            )
        self.timing.plot_seconds = self.clock() - began + 1e-6


def prepare_machine(config: RunSettings) -> Any:
    """Threads, device and the noise that the first weights are drawn from. Returns the device."""
    use_threads(config.threads)
    seed_noise(config.seed)
    device = pick_device(config.device)
    check_precision(config.precision, device)
    return device
