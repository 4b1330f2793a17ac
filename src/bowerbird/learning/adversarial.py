"""Two networks that learn from each other: a generator of pictures and the critic that judges them. Image.

B pictures, Z latent numbers. The critic takes its step first and the generator the next, from the same made
pictures. What ships is a running mean of the generator. Defaults are those that were measured to learn the
most in minutes on a processor; R3GAN's for GPUs (arXiv:2501.05441, appendix) are a rate of 2e-4 and beta1 0 too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from bowerbird.base.config import Config
from bowerbird.base.device import Precision, seed_noise
from bowerbird.learning.augment import HIGHEST, Adaptive, augmented, sureness
from bowerbird.learning.gan_losses import GAN_LOSSES
from bowerbird.learning.loop import Arrays, NotFinite
from bowerbird.learning.optimizers import optimizer_state, restore_optimizer
from bowerbird.learning.pace import rate_at
from bowerbird.learning.penalties import gradient_penalty, r1_r2
from bowerbird.models.gan import Discriminator, Generator

Pictures = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""(B, H, W, C) pixels and (B,) labels, -1 for none."""

UNLABELLED = 0.1
"""Chance that a picture's class is kept back, so that the generator can be asked for any."""
FIRST_HALF_LIFE = 500
"""Pictures in which the running mean forgets half, at the least."""
FINAL_RATE = 0.1
"""Share of the learning rate that its cosine falls to."""
_MEASURED_PIXELS = 128 * 64 * 64
"""At most so many in each of the batches of 8 to 128 pictures that what ships is normalised by."""
_MEASURED_BATCHES, _MEASURED_PICTURES = 8, 256
"""At most so many batches, and pictures: 1,024, four times the work, gave the same FID (docs/log.md, 2026-11-28)."""


class AdversarialConfig(Config):
    """How both networks learn."""

    loss: str = "relativistic"
    """A name on the shelf of losses."""
    penalty: Literal["r1r2", "gp", "none"] = "r1r2"
    """What the critic pays for steepness: R1 + R2, or the gradient penalty that `wasserstein` wants."""
    gamma: float = Field(1.0, ge=0)
    """Weight of the penalty. More is steadier and duller; 10 is usual with gp."""
    penalty_every: int = Field(1, ge=1)
    """Steps from one penalty to the next, which then weighs as much more."""
    learning_rate: float = Field(2e-3, gt=0, le=1)
    """At its highest; it falls along a cosine to a tenth."""
    beta1: float = Field(0.0, ge=0, lt=1)
    """How much of the mean gradient is kept from step to step."""
    beta2: float = Field(0.99, ge=0, lt=1)
    """How much of the mean squared gradient is kept from step to step."""
    ema: float = Field(0.05, ge=0, le=1)
    """Half-life of the running mean of the generator, as a share of the pictures seen."""
    augment: Literal["none", "adaptive"] | Annotated[float, Field(ge=0, le=1)] = "none"
    """Probability of each change to a picture before the critic sees it; adaptive for few pictures."""
    flip: bool = False
    """Pictures are as good when mirrored: both ways are shown."""


class Adversarial:
    """The learner of a generator. The network given is the one that ships; a copy of it does the learning."""

    def __init__(
        self,
        generator: Generator,
        config: AdversarialConfig,
        *,
        critic: Discriminator,
        batch_size: int,
        seed: int,
        precision: Precision = "float32",
        images: int,
    ):
        self.network = generator.eval()
        self.generator = copy.deepcopy(generator).train()
        self.device = next(generator.parameters()).device
        self.critic = critic.to(self.device)
        self.config, self.batch_size, self.seed, self.precision = config, batch_size, seed, precision
        self.loss = GAN_LOSSES[config.loss]
        self.adaptive = Adaptive.for_pictures(
            images, config.augment if isinstance(config.augment, float) else 0.0
        )
        self.scale = self.penalty_scale = 1.0
        self._is_measured = False
        self._generator_weights, self._generator_optimizer = self._optimizer(self.generator)
        self._critic_weights, self._critic_optimizer = self._optimizer(self.critic)

    def _optimizer(self, network: nn.Module) -> tuple[list[nn.Parameter], torch.optim.Adam]:
        weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
        betas = (self.config.beta1, self.config.beta2)
        return weights, torch.optim.Adam(weights, lr=self.config.learning_rate, betas=betas, fused=True)

    def step(self, batch: Pictures, step: int, progress: float) -> dict[str, float]:
        seed_noise(self.seed, step)
        real, labels = self._read(batch)
        rate = self.config.learning_rate * rate_at(progress, warm_up=0.0, final=FINAL_RATE) * self.scale
        for optimizer in (self._critic_optimizer, self._generator_optimizer):
            optimizer.param_groups[0]["lr"] = rate
        undo = self._undo()
        try:
            latent = torch.randn(len(real), self.generator.config.latent, device=self.device)
            with self._autocast():
                fake = self.generator(latent, labels)
            told, real_logits = self._critic_step(real, fake.detach(), labels, step)
            told["generator_loss"] = self._generator_step(fake, real_logits, labels, step)
        except NotFinite:
            undo()
            raise
        self._average(step)
        p = self.adaptive.p
        if self.config.augment == "adaptive":
            self.adaptive.update(told["sure"], len(real))
        return {**told, "rate": rate, "augment": p, "images": len(real), "tokens": len(real)}

    def _read(self, batch: Pictures) -> tuple[Tensor, Tensor | None]:
        """Real pictures in -1..1, some mirrored, and their labels, some kept back."""
        pixels, numbers = batch
        real = torch.tensor(pixels, device=self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        if self.config.flip:
            mirrored = torch.rand(len(real), 1, 1, 1, device=self.device) < 0.5
            real = torch.where(mirrored, real.flip(3), real)
        if not self.generator.config.classes:
            return real, None
        labels = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        return real, labels.masked_fill(torch.rand(len(real), device=self.device) < UNLABELLED, -1)

    def _critic_step(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, step: int
    ) -> tuple[dict[str, float], Tensor]:
        """What is told of the step, and the logits of real pictures before it."""
        config = self.config
        due = config.penalty != "none" and step % config.penalty_every == 0
        real, fake = self._augmented(real), self._augmented(fake)
        both = torch.cat([real, fake]).requires_grad_(due and config.penalty == "r1r2")
        logits = self._judged(both, None if labels is None else labels.repeat(2))
        real_logits, fake_logits = logits.chunk(2)
        loss = self.loss.discriminator(real_logits, fake_logits)
        penalty = torch.zeros_like(loss)
        if due:
            weight = config.gamma * self.penalty_scale * config.penalty_every
            penalty = weight * (
                r1_r2(both, logits)
                if config.penalty == "r1r2"
                else gradient_penalty(lambda images: self._judged(images, labels), real, fake)
            )
        (loss + penalty).backward(inputs=self._critic_weights)  # type: ignore[no-untyped-call]
        names = ("loss", "penalty", "real_score", "fake_score", "sure")
        values = (loss, penalty, real_logits.mean(), fake_logits.mean(), sureness(real_logits, fake_logits))
        told = dict(zip(names, torch.stack(values).tolist(), strict=True))
        _finish(self._critic_optimizer, self._critic_weights, told["loss"] + told["penalty"], "critic", step)
        return told, real_logits.detach()

    def _generator_step(self, fake: Tensor, real_logits: Tensor, labels: Tensor | None, step: int) -> float:
        loss = self.loss.generator(real_logits, self._judged(self._augmented(fake), labels))
        loss.backward(inputs=self._generator_weights)  # type: ignore[no-untyped-call]
        value = loss.item()
        _finish(self._generator_optimizer, self._generator_weights, value, "generator", step)
        return value

    def _augmented(self, images: Tensor) -> Tensor:
        return augmented(images, self.adaptive.p, flip=self.config.flip)

    def _judged(self, images: Tensor, labels: Tensor | None) -> Tensor:
        with self._autocast():
            logits: Tensor = self.critic(images, labels)
        return logits

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def _undo(self) -> Callable[[], None]:
        """A way back to before this step, for when the generator's half of it fails: the critic has moved then."""
        moments = self._critic_optimizer.state
        before = set(moments)
        tensors = [*self.generator.buffers(), *self._critic_weights]
        tensors += [value for state in moments.values() for value in state.values()]
        held = [tensor.detach().clone() for tensor in tensors]

        @torch.no_grad()
        def undo() -> None:
            for tensor, value in zip(tensors, held, strict=True):
                tensor.copy_(value)
            for parameter in set(moments) - before:
                del moments[parameter]
            self._critic_optimizer.zero_grad(set_to_none=True)
            self._generator_optimizer.zero_grad(set_to_none=True)

        return undo

    @torch.no_grad()
    def _average(self, step: int) -> None:
        seen = (step + 1) * self.batch_size
        half_life = max(self.config.ema * seen, FIRST_HALF_LIFE)
        new = 1 - 0.5 ** (self.batch_size / half_life)
        for mean, parameter in zip(self.network.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(parameter, new)
        self._is_measured = False

    def shipped(self) -> Arrays:
        if not self._is_measured:
            normalise_by_own(self.network)
            self._is_measured = True
        return {name: value.detach() for name, value in self.network.state_dict().items()}

    def partners(self) -> Arrays:
        both = {"critic": self.critic, "generator": self.generator}
        return {
            f"{part}/{name}": value.detach()
            for part, network in both.items()
            for name, value in network.state_dict().items()
        }

    def resume_state(self) -> Arrays:
        numbers = {
            "scale": self.scale,
            "penalty_scale": self.penalty_scale,
            "augment": self.adaptive.p,
            "sure": self.adaptive.sure,
        }
        return {
            **_under("critic_optimizer", optimizer_state(self.critic, self._critic_optimizer)),
            **_under("generator_optimizer", optimizer_state(self.generator, self._generator_optimizer)),
            **{name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()},
        }

    def restore(
        self,
        shipped: Mapping[str, Tensor],
        partners: Mapping[str, Tensor],
        resume_state: Mapping[str, Tensor] | None = None,
    ) -> None:
        """As the protocol says. Without partners, the generator goes on from what ships and the critic as it is."""
        self.network.load_state_dict(dict(shipped), strict=True)
        own = _found("generator", partners) if partners else dict(shipped)
        self.generator.load_state_dict(own, strict=True)
        if partners:
            self.critic.load_state_dict(_found("critic", partners), strict=True)
        if resume_state is None:
            return
        restore_optimizer(self.critic, self._critic_optimizer, _found("critic_optimizer", resume_state))
        restore_optimizer(
            self.generator, self._generator_optimizer, _found("generator_optimizer", resume_state)
        )
        self.scale = float(resume_state["scale"])
        self.penalty_scale = float(resume_state["penalty_scale"])
        self.adaptive.p = float(resume_state["augment"])
        self.adaptive.sure = float(resume_state["sure"])

    def calm(self, factor: float) -> None:
        self.scale *= factor

    def penalise(self, factor: float) -> None:
        """Make steepness cost the critic so many times as much from now on."""
        self.penalty_scale *= factor

    def augment(self, more: float) -> None:
        """Change pictures with so much more probability from now on, up to where the changes would be learnt."""
        self.adaptive.p = max(self.adaptive.p, min(self.adaptive.p + more, HIGHEST))


@torch.no_grad()
def normalise_by_own(generator: Generator) -> None:
    """Give a generator's batch norms the mean and variance of its own pictures, those of all classes alike.

    A running mean of weights does not make what the weights made, so the statistics of these do not suit it
    (Izmailov et al. 2018, arXiv:1803.05407, section 3.2). They depend on the weights alone.
    """
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    config, device = generator.config, next(generator.parameters()).device
    together = min(max(_MEASURED_PIXELS // config.resolution**2, 8), 128)
    count = min(together * _MEASURED_BATCHES, _MEASURED_PICTURES)
    latents = torch.randn(count, config.latent, generator=torch.Generator().manual_seed(0)).to(device)
    labels = torch.arange(count, device=device) % config.classes if config.classes else None
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    try:
        for first in range(0, count, together):
            some = slice(first, first + together)
            generator(latents[some], None if labels is None else labels[some])
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum


def _finish(
    optimizer: torch.optim.Adam, weights: Sequence[nn.Parameter], loss: float, whose: str, step: int
) -> None:
    """Let the optimiser move if loss and gradients are finite.

    Raises:
        NotFinite: they are not.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients))
    if not (np.isfinite(loss) and np.isfinite(norm)):
        raise NotFinite(f"the {whose}'s loss {loss:.4g}, gradient norm {norm:.4g} at step {step}")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _under(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {f"{part}/{name}": value for name, value in tensors.items()}


def _found(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What `_under` put under a name."""
    prefix = f"{part}/"
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
