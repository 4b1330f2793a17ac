"""What a kind is: a record of functions that join one medium to one way of modelling it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from bowerbird.base.config import Config
from bowerbird.base.device import Precision
from bowerbird.data.codecs import Codec
from bowerbird.data.dataset import Dataset
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.image_evidence import ImageEvidence
from bowerbird.learning.loop import Learner
from bowerbird.sampling.session import FinishReason, Session


class RunSettings(Protocol):
    """What a run's settings have whatever the kind; each kind's record adds its own."""

    @property
    def seed(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def patience(self) -> int | None: ...
    @property
    def evaluate_every(self) -> int | None: ...
    @property
    def device(self) -> str | None: ...
    @property
    def threads(self) -> int | None: ...
    @property
    def precision(self) -> Precision: ...


@dataclass(frozen=True)
class Validation:
    """One look at held-out data during training: the loss that decides, and what to report."""

    loss: float
    scores: dict[str, float]
    tokens: int
    """Tokens that were read, or samples that were made."""


class Reader(Protocol):
    """Turns the chunks of one request into what its asker reads, as it comes."""

    @property
    def unread(self) -> int:
        """Of the last push, how much came after the end that the reader saw in it."""
        ...

    @property
    def content(self) -> Any:
        """What was made, once it has ended, where that is more than its text tells; else empty."""
        ...

    def push(self, content: Any, finished: FinishReason | None) -> tuple[str, FinishReason | None]:
        """New readable content, and why it ends if it does (a stop string may end it early)."""
        ...


class Finding(Protocol):
    """What is wrong with a learner."""

    @property
    def message(self) -> str:
        """A whole sentence, with what is done about it."""
        ...

    def apply(self, learner: Any) -> None:
        """Do it."""
        ...


class Watch(Protocol):
    """Looks after a learner by the numbers it tells, beside the coach. Its state is plain numbers."""

    def note(self, stats: Mapping[str, float]) -> None:
        """Take note of a step."""
        ...

    def judge(self, step: int, scores: Mapping[str, float]) -> Sequence[Finding]:
        """What an evaluation, and the steps before it, tell of."""
        ...

    def state(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Preview:
    """What a run shows of its model while it learns."""

    every: int
    """Evaluations from one to the next."""
    make: Callable[[Any, int], tuple[str, bytes]]
    """(model, step) -> a text to tell, and a PNG for the run's folder where there is something to see."""
    film: Callable[[Sequence[bytes]], bytes] | None = None
    """From these PNGs, in order, to the run's `timelapse.webp`."""


def nothing_to_tell(model: Any, request: Any, index: int) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Kind:
    """Nothing to inherit: a kind is this record filled in."""

    name: str
    run_config: type[Config]
    request: type[Config]
    """The settings of one request: prompt, length, temperature ..."""
    models: Mapping[str, Any]
    """What `--model` can name, the first where nothing is named."""
    model_name: Callable[[Mapping[str, Any]], str]
    """From a run's settings to which of these it is."""
    recommend: Callable[[Dataset, str, str, float | None], dict[str, Any]]
    """(dataset, model, size, minutes) -> settings of a run, as `--model` and `--size` fill them."""
    build_network: Callable[[Mapping[str, Any], Codec], nn.Module]
    """(the `model` part of the settings, codec) -> the network that ships."""
    build_learner: Callable[[nn.Module, Any, Dataset], Learner]
    """(network, settings, dataset) -> the learner; a network that counts has then counted the dataset."""
    batch: Callable[[Dataset, Any], Callable[[int], Any]]
    """(dataset, settings) -> the batch of a step."""
    validate: Callable[[nn.Module, Dataset, int | None], Validation]
    """(network, dataset, tokens or samples at most) -> how it does on the valid split, quickly."""
    validation: tuple[int, int]
    """Tokens or samples at each evaluation, and for the final scores: always the same, so that runs compare."""
    measure: str
    """The score of a validation that decides; lower is better."""
    preview: Preview
    warnings: Callable[[Dataset, int], list[str]]
    """(dataset, parameters) -> what to say before any work is spent."""
    card: Callable[[Mapping[str, Any], Dataset, int], str]
    """(settings, dataset, parameters) -> the README of a bundle: what it is, learnt from, and is not for."""
    fixed: tuple[str, ...]
    """Settings of the network that fine-tuning cannot change."""
    learning: str
    """The part of a run's settings that holds its `learning_rate`."""
    recode: Callable[[Any, Dataset, Path], tuple[Dataset, dict[str, Any]]]
    """(model, dataset, folder) -> the dataset in the model's codec, made in the folder if it is in another,
    and what of it the model does not know."""
    open_session: Callable[[nn.Module, int], Session[Any]]
    encode_request: Callable[[Any, Any, int], Any]
    """(model, request, which of its n) -> what a session admits."""
    read: Callable[[Any, Any], Reader]
    """(model, request) -> a reader of its chunks."""
    render: Callable[[Any, Any], dict[str, bytes]]
    """(request, sample) -> the files of a sample by suffix, the main one first."""
    gather_evidence: Callable[..., Evidence | ImageEvidence]
    judged_samples: int
    """How many samples an evaluation makes unless it is told."""
    about: Callable[[Any, Any, int], dict[str, str]] = nothing_to_tell
    """(model, request, which of its n) -> what the files of a sample tell of how it was made."""
    together: Callable[[Sequence[Any]], dict[str, bytes]] = lambda samples: {}
    """Files that show several samples at once, by name."""
    readable: bool = True
    """A sample can be shown as text; else it is of use as a file only."""
    watch: Callable[..., Watch] | None = None
    """What watches a learner beside the coach, new or, with what its state holds, as it was in a checkpoint."""
    get_ready: Callable[[nn.Module, Dataset, float | None], None] = lambda network, dataset, seconds: None
    """(network, dataset, seconds in all): makes what validation needs and keeps it, before the first is timed."""
