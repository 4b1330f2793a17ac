"""The kind `text`: characters, bytes, pieces or words, and a recurrent network that predicts the next."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bowerbird.base.device import mixed_seed
from bowerbird.base.errors import UsageError
from bowerbird.data.codecs import Codec, same_codec
from bowerbird.data.codecs.codec import DOCUMENT_TOKEN
from bowerbird.data.dataset import Dataset
from bowerbird.data.markers import DOCUMENT, MARKERS, ROLES, plain, turn
from bowerbird.evaluation.evidence import Evidence
from bowerbird.kinds.freezing import freeze
from bowerbird.kinds.kind import Kind, Preview, Validation
from bowerbird.kinds.reading import TextReader
from bowerbird.kinds.text_batches import batches, count_in_parts
from bowerbird.kinds.text_card import card
from bowerbird.kinds.text_recoding import recode
from bowerbird.kinds.text_settings import SampledRequest, TextRequest, TextRun
from bowerbird.kinds.text_sizes import recommend
from bowerbird.learning.coach import before_training
from bowerbird.learning.next_token import NextToken, token_nats, window_loss
from bowerbird.learning.parts import count_parts, part_numbers
from bowerbird.models.cells import CELLS
from bowerbird.models.ngrams import Tables
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.sampling.request import TokenRequest
from bowerbird.sampling.session import Session
from bowerbird.sampling.sessions import open_session as open_token_session

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model, Sample

VALIDATION_TOKENS = (32_768, 131_072)
"""Read at each evaluation, and for the final scores."""
FIXED = ("cell", "width", "layers", "embedding", "tied", "residual", "norm", "ngrams", "cache")
_PREVIEW_LENGTH = 160
_VALID_ROWS = 32
_BLOCK_BYTES = 2048
"""Held-out documents longer than this are judged in blocks, so that an interval can be had from few."""


def build_network(model: Mapping[str, Any], codec: Codec) -> RNN:
    return RNN(RNNConfig.model_validate(dict(model)), codec.vocab_size)


def build_learner(network: nn.Module, config: TextRun, dataset: Dataset | None = None) -> NextToken:
    """The learner; parts to freeze are taken out of its reach, n-grams of the dataset are counted.

    Raises:
        UsageError: no parameter's name begins with what is to be frozen, nothing is left to learn, or the
            windows are longer than the text.
    """
    if dataset is not None and (tokens := len(dataset.tokens("train"))) <= config.length:
        raise UsageError(
            f"a length of {config.length:,} tokens is more than the training text has ({tokens:,})",
            where=dataset.path,
            hint=f"--set length={max(tokens // 2, 1)} or less, or more text",
        )
    freeze(network, config.freeze)
    return NextToken(
        cast(RNN, network),
        config.optimizer,
        rows=config.batch_size,
        seed=config.seed,
        precision=config.precision,
        parts=count_in_parts(cast(RNN, network), config, dataset) if dataset else None,
    )


def validate(network: nn.Module, dataset: Dataset, most: int | None) -> Validation:
    """Loss on the valid split, or on the training text where there is none, read in rows side by side."""
    split = "valid" if dataset.info["splits"]["valid"]["tokens"] > 1 else "train"
    tokens = dataset.tokens(split)
    rows = max(1, min(_VALID_ROWS, len(tokens) // 64))
    length = (len(tokens) - 1) // rows
    if most is not None:
        length = min(length, max(most // rows, 16))
    starts = (np.arange(rows) * (len(tokens) - 1)) // rows
    table = np.stack([tokens[start : start + length + 1] for start in starts.tolist()]).astype(np.int64)
    loss = window_loss(cast(RNN, network), table, _held(cast(RNN, network), tokens, starts, length, split))
    size = float(dataset.codec.byte_sizes[table[:, 1:]].sum())
    count = table[:, 1:].size
    return Validation(
        loss,
        {"loss": loss, f"bits_per_{dataset.codec.unit}": float(loss * count / np.log(2) / max(size, 1.0))},
        count,
    )


def _held(
    network: RNN, tokens: NDArray[Any], starts: NDArray[np.int64], length: int, split: str
) -> tuple[Tables, Tensor] | None:
    """Where training text has to do, tables that have not counted what they are asked about."""
    if network.ngrams is None or split != "train":
        return None
    tables = network.ngrams.tables(count_parts(network.ngrams, tokens))
    return tables, torch.from_numpy(part_numbers(starts, length, len(tokens)))


def model_name(settings: Mapping[str, Any]) -> str:
    return str(settings["model"]["cell"])


def warnings(dataset: Dataset, parameters: int) -> list[str]:
    return before_training(int(dataset.info["splits"]["train"]["tokens"]), parameters)


def preview(model: Model, step: int) -> tuple[str, bytes]:
    """A short text, and nothing to see."""
    return model.generate(length=_PREVIEW_LENGTH, seed=step)[0].text, b""


PREVIEW = Preview(every=6, make=preview)


def open_session(network: nn.Module, slots: int) -> Session[TokenRequest]:
    return open_token_session(cast(RNN, network), slots)


def encode_request(model: Model, request: TextRequest, index: int) -> TokenRequest:
    """Tokens and settings for a session. A chat model is given the prompt as the user's turn.

    Raises:
        UsageError: a bias is for a token that the model has not.
    """
    size = model.codec.vocab_size
    if max(request.logit_bias, default=0) >= size:
        raise UsageError(
            f"`logit_bias` names token {max(request.logit_bias)}, and the last of this model is {size - 1}",
            where="the request",
        )
    prompt = model.normaliser(request.prompt)
    ends = {DOCUMENT_TOKEN}
    if model.structure == "chat" and prompt:
        ends |= set(range(len(MARKERS)))
        prompt = turn("user", plain(prompt)) + ROLES["assistant"]
    return token_request(
        request,
        index,
        prompt=model.codec.encode(DOCUMENT + prompt).astype(np.int64),
        ends=frozenset(ends),
        banned=frozenset() if model.structure == "chat" else frozenset(range(1, len(MARKERS))),
        bias=request.logit_bias,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
    )


def token_request(request: SampledRequest, index: int, **own: Any) -> TokenRequest:
    """One of the n samples of a request; `own` is what a kind adds: `prompt`, `ends`, `banned`, `guide` ..."""
    return TokenRequest(
        **own,
        length=request.length,
        seed=request.seed + index,
        repetition_penalty=request.repetition_penalty,
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=None if request.top_p == 1 else request.top_p,
        min_p=request.min_p,
    )


def read(model: Model, request: TextRequest) -> TextReader:
    return TextReader(model.codec.decoder(), request.stop)


def render(request: TextRequest, sample: Sample) -> dict[str, bytes]:
    return {"txt": (request.prompt + sample.text).encode("utf-8", "replace")}


def gather_evidence(
    model: Model, dataset: Dataset, *, split: str, seed: int, samples: int, length: int, most_bytes: int
) -> Evidence:
    """What the metrics look at: the model's bits on held-out documents, and texts it makes by itself.

    At most `most_bytes` held-out bytes are read, documents in the order of the split.
    """
    bits, sizes = held_out_bits(model, dataset, split, most_bytes)
    held_out: list[str] = []
    left = most_bytes
    for index, (_, _, size, _) in enumerate(dataset.documents(split).tolist()):
        text = plain(dataset.text(split, index)) if left > 0 else ""
        held_out += [text if size <= left else text.encode()[:left].decode("utf-8", "ignore")] if text else []
        left -= size
    return Evidence(
        kind="text",
        seed=seed,
        split=split,
        bits=bits,
        sizes=sizes,
        held_out=held_out,
        samples=[plain(sample.text) for sample in own_samples(model, samples, length, seed)],
        training=lambda: dataset.pieces("train"),
    )


def own_samples(model: Model, n: int, length: int, seed: int) -> list[Sample]:
    """What a model makes unasked, from its own distribution, to be judged."""
    return model.generate(n=n, length=length, temperature=1.0, seed=mixed_seed(seed) >> 8)


def held_out_bits(
    model: Model,
    dataset: Dataset,
    split: str,
    most_bytes: int,
    possible: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
    rows: int = 32,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bits the model spends on each held-out block, and the block's bytes: (blocks,) each.

    The state is carried through each document from the empty one; every byte is counted once, and the
    marker that ends a whole document is paid for too. Text is encoded by the model's own codec. Blocks
    are cut by bytes, so that models with different codecs are judged on the same ones. `possible` tells of a
    sequence (T,) which tokens can follow each but the last, (T - 1, V), where sampling keeps to that too.
    """
    sequences = _held_out_sequences(model, dataset, split, most_bytes)
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
    found: dict[int, NDArray[np.float64]] = {}
    for start in range(0, len(order), rows):
        group = order[start : start + rows]
        some = [sequences[index] for index in group]
        masks = None if possible is None else [possible(sequence) for sequence in some]
        nats = token_nats(cast(RNN, model.network), some, possible=masks)
        found.update(zip(group, nats, strict=True))
    bits, sizes = [], []
    for index, sequence in enumerate(sequences):
        byte_sizes = model.codec.byte_sizes[sequence[1:]]
        before = byte_sizes.cumsum() - byte_sizes
        block = np.minimum(before // _BLOCK_BYTES, max(byte_sizes.sum() - 1, 0) // _BLOCK_BYTES).astype(int)
        bits.append(np.bincount(block, found[index]) / np.log(2))
        sizes.append(np.bincount(block, byte_sizes))
    return np.concatenate(bits), np.concatenate(sizes)


def _held_out_sequences(
    model: Model, dataset: Dataset, split: str, most_bytes: int
) -> list[NDArray[np.int64]]:
    """Held-out documents as tokens of the model's codec, each from its leading marker, up to so many bytes."""
    own = same_codec(model.codec, dataset.codec)
    tokens, left = dataset.tokens(split), float(most_bytes)
    sequences: list[NDArray[np.int64]] = []
    for index, (first, count, size, whole) in enumerate(dataset.documents(split).tolist()):
        if own:
            sequence = np.asarray(tokens[first : first + count], np.int64)
        else:
            text = model.normaliser(dataset.text(split, index))
            sequence = model.codec.encode(DOCUMENT + text).astype(np.int64)
        if size > left:
            kept = int(np.searchsorted(model.codec.byte_sizes[sequence].cumsum(), left, side="right"))
            return [*sequences, sequence[:kept]] if kept > 1 else sequences
        left -= size
        sequences.append(np.append(sequence, DOCUMENT_TOKEN) if whole else sequence)
    return sequences


TEXT = Kind(
    name="text",
    run_config=TextRun,
    request=TextRequest,
    models=CELLS,
    model_name=model_name,
    recommend=recommend,
    build_network=build_network,
    build_learner=build_learner,
    batch=batches,
    validate=validate,
    validation=VALIDATION_TOKENS,
    measure="loss",
    preview=PREVIEW,
    warnings=warnings,
    card=functools.partial(card, "text"),
    fixed=FIXED,
    learning="optimizer",
    recode=recode,
    open_session=open_session,
    encode_request=encode_request,
    read=read,
    render=render,
    gather_evidence=gather_evidence,
    judged_samples=32,
)
