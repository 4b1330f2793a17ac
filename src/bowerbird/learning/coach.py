"""Watches a run's validation and says in plain words what is going wrong, and what is done about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OVERFITTING_GAP = 0.15
"""Share by which validation may lie above training before we call it overfitting."""
LITTLE_TEXT = 20_000
"""Tokens under which a model will mostly learn by heart."""


@dataclass
class Coach:
    """Judges one validation loss after another. Its state is plain numbers and travels with a checkpoint."""

    patience: int | None = 8
    """Evaluations without a better one before the run ends; None never ends it."""
    best_step: int = 0
    best_loss: float = float("inf")
    waited: int = 0
    warned_overfitting: bool = False
    restarts: int = 0

    def judge(self, step: int, train_loss: float, valid_loss: float) -> list[str]:
        """Take note of an evaluation; returns warnings, each a whole sentence."""
        if valid_loss < self.best_loss:
            self.best_step, self.best_loss, self.waited = step, valid_loss, 0
            return []
        self.waited += 1
        gap = valid_loss > train_loss * (1 + OVERFITTING_GAP)
        if gap and self.waited >= 2 and not self.warned_overfitting:
            self.warned_overfitting = True
            return [
                f"overfitting: the model fits its training text ({train_loss:.3f} nats a token) better and new "
                f"text ({valid_loss:.3f}) worse since step {self.best_step}; that checkpoint is kept as the best. "
                "More text, --set model.dropout=0.3 or --size small would help."
            ]
        return []

    @property
    def is_best(self) -> bool:
        return self.waited == 0

    @property
    def out_of_patience(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        return asdict(self)


def before_training(tokens: int, parameters: int) -> list[str]:
    """Warnings about the data, before any work is spent."""
    if tokens < LITTLE_TEXT:
        return [
            f"too little text: {tokens:,} tokens to learn from; a model of {parameters:,} parameters will mostly "
            f"repeat them. {LITTLE_TEXT:,} or more make a difference; the best checkpoint is kept."
        ]
    return []
