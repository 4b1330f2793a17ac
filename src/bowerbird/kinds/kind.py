"""What a kind is: a record of functions that join one medium to one way of modelling it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from bowerbird.base.config import Config
from bowerbird.base.device import Precision
from bowerbird.data.codecs import Codec
from bowerbird.data.dataset import Dataset
from bowerbird.evaluation.evidence import Evidence
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


class Reader(Protocol):
    """Turns the chunks of one request into what its asker reads, as it comes."""

    unread: int
    """Of the last push, how much came after the end that the reader saw in it."""
    content: str
    """What was made, once it has ended, where that is more than its text tells; else empty."""

    def push(self, content: Any, finished: FinishReason | None) -> tuple[str, FinishReason | None]:
        """New readable content, and why it ends if it does (a stop string may end it early)."""
        ...


@dataclass(frozen=True)
class Kind:
    """Nothing to inherit: a kind is this record filled in."""

    name: str
    run_config: type[Config]
    request: type[Config]
    """The settings of one request: prompt, length, temperature ..."""
    recommend: Callable[[Dataset, str, str, float | None], dict[str, Any]]
    """(dataset, model, size, minutes) -> settings of a run, as `--model` and `--size` fill them."""
    build_network: Callable[[Mapping[str, Any], Codec], nn.Module]
    """(the `model` part of the settings, codec) -> the network that ships."""
    build_learner: Callable[[nn.Module, Any, Dataset], Learner]
    """(network, settings, dataset) -> the learner; a network that counts has then counted the dataset."""
    batch: Callable[[Dataset, Any], Callable[[int], Any]]
    """(dataset, settings) -> the batch of a step."""
    validate: Callable[[nn.Module, Dataset, int | None], Validation]
    """(network, dataset, tokens at most) -> how it does on the valid split, quickly."""
    open_session: Callable[[nn.Module, int], Session[Any]]
    encode_request: Callable[[Any, Any, int], Any]
    """(model, request, which of its n) -> what a session admits."""
    read: Callable[[Any, Any], Reader]
    """(model, request) -> a reader of its chunks."""
    render: Callable[[Any, Any], dict[str, bytes]]
    """(request, sample) -> the files of a sample by suffix, the main one first."""
    gather_evidence: Callable[..., Evidence]
