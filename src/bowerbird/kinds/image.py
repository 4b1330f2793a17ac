"""The kind `image`: pictures of one size, and a generator that learnt against a critic.

N pictures, H height, W width, C channels, Z the latent's size.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from bowerbird.base.errors import UnknownName, UsageError
from bowerbird.data.codecs import Codec
from bowerbird.data.codecs.pixels import Pixels
from bowerbird.data.dataset import Dataset
from bowerbird.data.render.pictures import animation, enlarged, grid, to_png
from bowerbird.kinds.freezing import freeze
from bowerbird.kinds.image_batches import batches, shrunk
from bowerbird.kinds.image_card import card, warnings
from bowerbird.kinds.image_judging import gather_evidence, get_ready, validate
from bowerbird.kinds.image_recoding import recode
from bowerbird.kinds.image_settings import ImageRequest, ImageRun
from bowerbird.kinds.image_sizes import MODELS, recommend
from bowerbird.kinds.kind import Kind, Preview
from bowerbird.learning.adversarial import Adversarial
from bowerbird.learning.gan_coach import GANCoach
from bowerbird.models.gan import Discriminator, GANConfig, Generator
from bowerbird.sampling.images import ImageJob, ImageSession
from bowerbird.sampling.session import FinishReason

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model, Sample

FRAMES_PER_SECOND = 12
_PREVIEW = 64
"""Pictures on a sheet of what a run shows of its model."""
_VISIBLE = 64
"""Pixels that the side of each takes up there at least."""
_FILM_SECONDS = 0.25
"""Each such sheet is shown in the timelapse."""


def model_name(settings: Mapping[str, Any]) -> str:
    return next(iter(MODELS))


def build_network(model: Mapping[str, Any], codec: Codec) -> Generator:
    """The generator.

    Raises:
        UsageError: it would make other pictures than the codec is of.
    """
    config, pixels = GANConfig.model_validate(dict(model)), cast(Pixels, codec)
    if config.channels != pixels.channels:
        raise UsageError(f"these pictures have {pixels.channels} channels, not {config.channels}")
    if config.classes not in (0, len(pixels.classes)):
        raise UsageError(
            f"there are {len(pixels.classes)} classes of pictures here, not {config.classes}",
            hint="--set model.classes=0 learns all as one",
        )
    return Generator(config)


def build_learner(network: nn.Module, config: ImageRun, dataset: Dataset) -> Adversarial:
    """The learner, with a new critic; parts of it to freeze are taken out of its reach.

    Raises:
        UsageError: no part of the critic has the name of what is to be frozen, or nothing of it is left to
            learn, or the pictures do not fit the network.
    """
    images = dataset.images("train")
    shrunk(images[:1], config.model.resolution)
    critic = Discriminator(config.model).to(next(network.parameters()).device)
    freeze(
        critic,
        config.freeze,
        no_part="the critic has no part",
        nothing_left="the whole critic is frozen: nothing can be learnt",
    )
    return Adversarial(
        cast(Generator, network),
        config.learner,
        critic=critic,
        batch_size=config.batch_size,
        seed=config.seed,
        precision=config.precision,
        images=len(images),
    )


def open_session(network: nn.Module, slots: int) -> ImageSession:
    config = cast(Generator, network).config
    return ImageSession(network, slots, size=config.latent, classes=config.classes)


def class_of(model: Model, request: ImageRequest, index: int) -> int | None:
    """The class of one of the n pictures: the one asked for, or one that its seed draws. None: no classes.

    Raises:
        UsageError: the model knows no such class.
    """
    names, known = cast(Pixels, model.codec).classes, cast(Generator, model.network).config.classes
    label = request.label
    if not known:
        if label is not None:
            raise UsageError("this model knows no classes", hint="leave the label out")
        return None
    if label is None:
        return int(np.random.default_rng([request.seed + index, known]).integers(known))
    if isinstance(label, str) and label in names:
        return names.index(label)
    if str(label).isdecimal() and int(label) < known:
        return int(label)
    raise UnknownName("class", str(label), names)


def encode_request(model: Model, request: ImageRequest, index: int) -> ImageJob:
    """What a session makes one of the n pictures of, or one of the n films.

    Raises:
        UsageError: the model knows no such class.
    """
    return ImageJob(
        seed=request.seed + index,
        label=class_of(model, request, index),
        truncation=request.truncation,
        to_seed=None if request.to_seed is None else request.to_seed + index,
        frames=1 if request.to_seed is None else request.frames,
    )


class ImageReader:
    """Keeps a picture (H, W, C), or a film's (F, H, W, C). There is nothing to read in it."""

    unread = 0

    def __init__(self, film: bool):
        self.film = film
        self.content: Any = ""

    def push(
        self, content: NDArray[np.uint8], finished: FinishReason | None
    ) -> tuple[str, FinishReason | None]:
        self.content = content if self.film else content[0]
        return "", finished


def read(model: Model, request: ImageRequest) -> ImageReader:
    return ImageReader(request.to_seed is not None)


def about(model: Model, request: ImageRequest, index: int) -> dict[str, str]:
    """What makes a picture again: the model, its seed, its class and the settings."""
    number = class_of(model, request, index)
    told = {"model": model.digest, "seed": str(request.seed + index), "truncation": f"{request.truncation:g}"}
    if number is not None:
        told["label"] = cast(Pixels, model.codec).classes[number]
    settings = request.model_dump(mode="json", exclude={"n", "frames"} if request.to_seed is None else {"n"})
    return {**told, "settings": json.dumps(settings, ensure_ascii=False)}


def render(request: ImageRequest, sample: Sample) -> dict[str, bytes]:
    """A PNG that says how it was made, or the film as an animated WebP."""
    if request.to_seed is None:
        return {"png": to_png(sample.content, sample.about)}
    return {"webp": animation(sample.content, len(sample.content) / FRAMES_PER_SECOND)}


def together(samples: Sequence[Sample]) -> dict[str, bytes]:
    """All on one sheet; of films, their beginnings."""
    if len(samples) < 2:
        return {}
    firsts = [sample.content if sample.content.ndim == 3 else sample.content[0] for sample in samples]
    return {"grid.png": to_png(grid(firsts))}


def preview(model: Model, step: int) -> tuple[str, bytes]:
    """A sheet of pictures, of the same noise at every step, and nothing to tell."""
    made = model.generate(n=_PREVIEW, seed=0)
    sheet = grid([enlarged(sample.content, _VISIBLE) for sample in made])
    return "", to_png(sheet, {"model": model.digest, "step": str(step)})


def film(sheets: Sequence[bytes]) -> bytes:
    """PNGs of one size as a film."""
    frames = [np.asarray(Image.open(io.BytesIO(sheet))) for sheet in sheets]
    return animation(frames, _FILM_SECONDS * len(frames))


IMAGE = Kind(
    name="image",
    run_config=ImageRun,
    request=ImageRequest,
    models=MODELS,
    model_name=model_name,
    recommend=recommend,
    build_network=build_network,
    build_learner=build_learner,
    batch=batches,
    validate=validate,
    validation=(1000, 2000),
    measure="fid",
    preview=Preview(every=1, make=preview, film=film),
    warnings=warnings,
    card=card,
    fixed=tuple(GANConfig.model_fields),
    learning="learner",
    recode=recode,
    open_session=open_session,
    encode_request=encode_request,
    read=read,
    render=render,
    gather_evidence=gather_evidence,
    judged_samples=2000,
    about=about,
    together=together,
    readable=False,
    watch=GANCoach,
    get_ready=get_ready,
)
