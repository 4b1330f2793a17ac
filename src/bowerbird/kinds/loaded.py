"""A model ready to use: an opened bundle with its network, codec and kind."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from bowerbird.base.config import Config, resolve
from bowerbird.base.device import pick_device
from bowerbird.base.errors import CorruptFile, UsageError
from bowerbird.data.codecs import Codec, load_codec, suits
from bowerbird.data.normaliser import Normaliser
from bowerbird.kinds import KINDS
from bowerbird.kinds.kind import Kind, Reader
from bowerbird.models.planned import check_size
from bowerbird.sampling.session import FinishReason, run_all
from bowerbird.store.bundle import Bundle

_SLOTS = 64


@dataclass(frozen=True)
class Sample:
    """One thing made: its text, the seed that makes it again, and why it ended (`stop` or `length`)."""

    text: str
    seed: int
    finish_reason: FinishReason | None
    content: Any = ""
    """What its files are made of: a melody's tune, a picture (H, W, C) or a film (F, H, W, C); empty for a text."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What its files tell of how it was made."""


class Model:
    """What `bowerbird.load` gives. Generation depends on the model, the request and its seed alone."""

    def __init__(self, bundle: Bundle, *, name: str | None = None, device: str | None = None):
        self.bundle = bundle
        self.name = name or str(bundle.path)
        self.codec: Codec = load_codec(bundle.manifest["codec"], bundle.codec_files())
        if not suits(self.codec, bundle.kind):
            raise CorruptFile(f"this codec is not one of a {bundle.kind} model", where=bundle.path)
        self.structure = str(bundle.manifest["structure"])
        weights = bundle.weights()
        try:
            self.kind: Kind = KINDS[bundle.kind]
            self.normaliser = Normaliser.model_validate(bundle.manifest["normaliser"])
            settings = bundle.manifest["config"]["model"]
            check_size(lambda: self.kind.build_network(settings, self.codec), weights)
            self.network: nn.Module = self.kind.build_network(settings, self.codec)
        except (UsageError, KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise CorruptFile(f"this bundle describes no model: {error}", where=bundle.path) from error
        try:
            self.network.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            raise CorruptFile(f"the weights do not fit the model: {error}", where=bundle.path) from error
        self.network.to(pick_device(device)).eval()

    @property
    def digest(self) -> str:
        return self.bundle.digest

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    def request(self, **fields: Any) -> Config:
        """A checked request; a random seed is drawn where none is given. Unknown fields are errors."""
        if fields.get("seed") is None:
            fields["seed"] = secrets.randbits(31)
        return resolve(self.kind.request, fields, where="request")

    def unseen(self, text: str) -> set[str]:
        """Characters of a prompt that have no token of their own, so the model knows them by bytes only."""
        return self.codec.unseen(self.normaliser(text))

    def generate(self, **fields: Any) -> list[Sample]:
        """Make `n` samples; sample i has the seed `seed + i` and is the same made alone or among others.

        Fields are those of the kind's request: for text `prompt, n, length, temperature, top_k, top_p,
        min_p, repetition_penalty, frequency_penalty, presence_penalty, logit_bias, stop, seed`; for pictures
        `label, n, truncation, to_seed, frames, seed`.
        """
        request = self.request(**fields)
        texts: dict[int, str] = {}
        ends: dict[int, FinishReason | None] = {}
        readers = self.readers(request)
        for index, text, finished in self.parts(request, readers):
            texts[index] = texts.get(index, "") + text
            ends[index] = finished
        return [
            self.sample(request, index, texts[index], ends[index], readers[index]) for index in sorted(texts)
        ]

    def sample(
        self, request: Any, index: int, text: str, finished: FinishReason | None, reader: Reader
    ) -> Sample:
        """One of a request's n, once it is made."""
        about = self.kind.about(self, request, index)
        return Sample(text, request.seed + index, finished, reader.content, about)

    def stream(self, **fields: Any) -> Iterator[str]:
        """One sample, piece by piece as it is made."""
        for _, text, _ in self.parts(self.request(**{**fields, "n": 1})):
            if text:
                yield text

    def readers(self, request: Any) -> list[Reader]:
        """One for each of the n."""
        return [self.kind.read(self, request) for _ in range(request.n)]

    def parts(
        self, request: Any, readers: Sequence[Reader] | None = None
    ) -> Iterator[tuple[int, str, FinishReason | None]]:
        """(which of the n, new text, why it ended if it has), as they come."""
        session = self.kind.open_session(self.network, min(request.n, _SLOTS))
        readers = readers or self.readers(request)
        jobs = [self.kind.encode_request(self, request, index) for index in range(request.n)]
        dropped: set[int] = set()
        for progress in run_all(session, jobs, dropped):
            index = progress.index
            text, finished = readers[index].push(progress.chunk.content, progress.chunk.finished)
            if finished:
                dropped.add(index)
            yield index, text, finished
