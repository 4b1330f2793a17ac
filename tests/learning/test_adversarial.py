"""The learner of a generator: both networks move, nothing moves when it may not, and it is restored to the bit."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from bowerbird.base.device import bfloat16_on_cpu
from bowerbird.base.errors import UnknownName
from bowerbird.learning import adversarial
from bowerbird.learning.adversarial import Adversarial, AdversarialConfig, Pictures
from bowerbird.learning.gan_losses import GAN_LOSSES
from bowerbird.learning.loop import Arrays, Learner, NotFinite
from bowerbird.learning.penalties import gradient_penalty, r1_r2, squared_slope
from bowerbird.models.gan import Discriminator, GANConfig, Generator
from bowerbird.store.bundle import read_tensors, write_tensors

B = 6


def learner(
    seed: int = 1, precision: str = "float32", model: dict[str, Any] | None = None, **config: Any
) -> Adversarial:
    torch.manual_seed(5)
    shape = GANConfig.model_validate(
        {"resolution": 16, "latent": 4, "width": 8, "critic_width": 4, "classes": 3, **(model or {})}
    )
    return Adversarial(
        Generator(shape),
        AdversarialConfig.model_validate(config),
        critic=Discriminator(shape),
        batch_size=B,
        seed=seed,
        precision=precision,  # type: ignore[arg-type]
        images=100,
    )


def data(step: int, count: int = B) -> Pictures:
    """Bright pictures with a dark half, left or below by their class."""
    rng = np.random.default_rng(step)
    labels = rng.integers(0, 2, count)
    pixels = rng.integers(150, 256, (count, 16, 16, 3), dtype=np.uint8)
    for picture, label in zip(pixels, labels, strict=True):
        dark = picture[:8] if label else picture[:, :8]
        dark //= 5
    return pixels, labels


def everything(one: Adversarial) -> dict[str, Tensor]:
    parts: list[Arrays] = [one.shipped(), one.partners(), one.resume_state()]
    return {
        f"{index}/{name}": value.clone() for index, part in enumerate(parts) for name, value in part.items()
    }


def same_bits(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype
        and torch.equal(ours[name].reshape(-1).view(torch.uint8), theirs[name].reshape(-1).view(torch.uint8))
        for name in ours
    )


def run(one: Adversarial, first: int, last: int) -> list[dict[str, float]]:
    return [one.step(data(step), step, step / 10) for step in range(first, last)]


def needs(precision: str) -> None:
    if precision == "bfloat16" and not bfloat16_on_cpu():
        pytest.skip("this processor has no bfloat16")


def test_a_step_moves_both_networks_and_their_mean() -> None:
    one: Learner = learner()
    assert isinstance(one, Adversarial)
    parts: list[nn.Module] = [one.generator, one.critic, one.network]
    before = [copy.deepcopy(dict(part.named_parameters())) for part in parts]
    run(one, 0, 1)
    for part, old in zip(parts, before, strict=True):
        assert not all(torch.equal(parameter, old[name]) for name, parameter in part.named_parameters())
    told = one.step(data(1), 1, 0.0)
    assert set(told) == {"loss", "penalty", "generator_loss", "real_score", "fake_score", "sure", "rate",
                         "augment", "images", "tokens"}  # fmt: skip
    assert all(isinstance(value, float | int) for value in told.values())
    assert told["images"] == told["tokens"] == B
    assert told["rate"] == pytest.approx(2e-3)
    assert told["penalty"] > 0


def test_a_step_is_that_of_the_papers_written_out() -> None:
    """Relativistic pairing with R1 + R2 (arXiv:2501.05441), one Adam step of each network, critic first."""
    one = learner(model={"classes": 0}, gamma=0.7)
    generator, critic = copy.deepcopy(one.generator), copy.deepcopy(one.critic)
    told = one.step(data(0), 0, 0.0)
    adversarial.seed_noise(1, 0)
    fake = generator(torch.randn(B, 4), None)
    real = torch.from_numpy(data(0)[0].astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1
    real.requires_grad_(True)
    made = fake.detach().clone().requires_grad_(True)
    real_scores, made_scores = critic(real, None), critic(made, None)
    loss = sum(F.softplus(made - real_scores).mean() for made in made_scores) / B
    slopes = [
        torch.autograd.grad(scores.sum(), images, create_graph=True)[0]
        for scores, images in ((real_scores, real), (made_scores, made))
    ]
    penalty = 0.7 / 2 * torch.stack([slope.square().sum((1, 2, 3)).mean() for slope in slopes]).sum()
    optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.99))
    (loss + penalty).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.99))
    generator_loss = sum(F.softplus(real_scores.detach() - made).mean() for made in critic(fake, None)) / B
    generator_loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert told["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert told["penalty"] == pytest.approx(penalty.item(), rel=1e-3)
    assert told["generator_loss"] == pytest.approx(generator_loss.item(), rel=1e-3)
    assert told["real_score"] == pytest.approx(real_scores.mean().item(), rel=1e-4, abs=1e-5)
    assert told["fake_score"] == pytest.approx(made_scores.mean().item(), rel=1e-4, abs=1e-5)
    for mine, theirs in ((one.critic, critic), (one.generator, generator)):
        for (name, value), expected in zip(mine.named_parameters(), theirs.parameters(), strict=True):
            if "doublings" in name and name.endswith("bias"):
                continue  # rounding alone moves it: the batch norm after it takes it away again
            near = (value - expected).abs() < 2e-4
            assert near.float().mean() > 0.98, name  # a gradient near 0 may round to either sign


def test_what_ships_is_a_running_mean_with_the_half_life_told() -> None:
    one = learner(ema=0.5)
    before = {name: value.clone() for name, value in one.network.named_parameters()}
    one.step(data(0), 400, 0.0)  # 401 x 6 = 2,406 pictures seen: half of them is a half-life
    keep = 0.5 ** (B / 1203)
    raw = dict(one.generator.named_parameters())
    for name, value in one.network.named_parameters():
        torch.testing.assert_close(value, before[name] * keep + raw[name] * (1 - keep), rtol=1e-4, atol=1e-6)
    assert not one.network.training


def test_what_ships_is_normalised_by_its_own_pictures() -> None:
    """By hand: the first batch norm sees the linear layer's numbers for balanced classes, in two batches."""
    one = learner()
    run(one, 0, 2)
    one.shipped()
    start, norm = one.network.body.start, one.network.body.norms[0]
    latents = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    classes = one.network.classes(torch.arange(256) % 3)
    seen = start(torch.cat([latents, classes], 1)).unflatten(1, (-1, 4, 4)).detach()
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    variances = torch.stack([part.var((0, 2, 3)) for part in seen.split(128)])
    torch.testing.assert_close(norm.running_var, variances.mean(0), rtol=1e-4, atol=1e-5)
    assert norm.momentum == one.generator.body.norms[0].momentum
    assert not any(module.training for module in one.network.modules())


def test_shipping_often_changes_nothing() -> None:
    one, two = learner(), learner()
    for step in range(3):
        run(one, step, step + 1)
        one.shipped()
    run(two, 0, 3)
    assert same_bits(everything(one), everything(two))


@pytest.mark.parametrize("loss", GAN_LOSSES)
@pytest.mark.parametrize("shape", ["conv", "residual"])
def test_both_shapes_take_steps_with_every_loss_and_penalty(loss: str, shape: str) -> None:
    for penalty in ("r1r2", "gp", "none"):
        one = learner(model={"shape": shape}, loss=loss, penalty=penalty, augment=0.3, flip=True)
        for told in run(one, 0, 2):
            assert all(math.isfinite(value) for value in told.values())
            assert (told["penalty"] > 0) == (penalty != "none")


def test_made_pictures_come_nearer_to_real_ones() -> None:
    one = learner(model={"width": 16, "critic_width": 8}, learning_rate=4e-3)
    real = np.concatenate([data(step)[0] for step in range(20)]).mean(0) / 127.5 - 1

    def apart() -> float:
        one.generator.eval()
        with torch.no_grad():
            made = one.generator(torch.randn(64, 4, generator=torch.Generator().manual_seed(1)), None)
        return float(np.abs(made.mean(0).permute(1, 2, 0).numpy() - real).mean())

    before = apart()
    for step in range(120):
        one.step(data(step), step, step / 120)
    assert apart() < 0.6 * before


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", ["conv", "residual"])
def test_stopping_and_restoring_is_going_straight_on_to_the_bit(
    precision: str, shape: str, tmp_path: Path
) -> None:
    needs(precision)
    options: dict[str, Any] = {
        "precision": precision,
        "augment": "adaptive",
        "flip": True,
        "model": {"shape": shape},
    }
    one = learner(**options)
    run(one, 0, 3)
    one.calm(0.5)
    one.penalise(2.0)
    one.augment(0.3)
    files = {"weights": one.shipped(), "partners": one.partners(), "resume": one.resume_state()}
    for name, tensors in files.items():
        write_tensors(tmp_path / name, tensors)
    other = learner(**options)
    run(other, 0, 1)  # what it was before does not show
    other.restore(*(read_tensors(tmp_path / name) for name in files))
    assert same_bits(everything(one), everything(other))
    assert run(one, 3, 6) == run(other, 3, 6)
    assert same_bits(everything(one), everything(other))


def test_each_part_of_the_resume_state_is_needed() -> None:
    one = learner(augment="adaptive")
    run(one, 0, 3)
    one.augment(0.3)
    kept = [{name: value.clone() for name, value in part.items()} for part in (one.shipped(), one.partners())]
    resume = {name: value.clone() for name, value in one.resume_state().items()}
    run(one, 3, 5)
    expected = everything(one)
    for part in ("critic_optimizer/", "generator_optimizer/", "scale", "penalty_scale", "augment", "sure"):
        wrong = {
            name: torch.zeros_like(value) if name.startswith(part) else value
            for name, value in resume.items()
        }
        other = learner(augment="adaptive")
        other.restore(*kept, wrong)
        run(other, 3, 5)
        assert not same_bits(everything(other), expected), part


def test_without_a_resume_state_it_fine_tunes_from_weights_and_partners() -> None:
    one = learner()
    run(one, 0, 3)
    other = learner(seed=2, learning_rate=1e-4)
    other.restore(one.shipped(), one.partners())
    assert same_bits(dict(one.shipped()), dict(other.shipped()))
    assert same_bits(dict(one.partners()), dict(other.partners()))
    assert not any(name.startswith("critic_optimizer/") for name in other.resume_state())
    run(other, 0, 2)
    assert not same_bits(dict(one.shipped()), dict(other.shipped()))


def test_without_partners_the_generator_goes_on_from_what_ships() -> None:
    one = learner()
    run(one, 0, 3)
    other = learner()
    fresh = {name: value.clone() for name, value in other.critic.state_dict().items()}
    other.restore(one.shipped(), {})
    assert same_bits(dict(other.generator.state_dict()), dict(one.shipped()))
    assert same_bits(dict(other.critic.state_dict()), fresh)


@pytest.mark.parametrize("lost", ["critic/output.bias", "generator/body.start.bias", "generator/"])
def test_partners_that_lack_something_are_refused(lost: str) -> None:
    one = learner()
    partners = {name: value for name, value in one.partners().items() if not name.startswith(lost)}
    with pytest.raises(RuntimeError, match="Missing key"):
        learner().restore(one.shipped(), partners)


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("poison", ["picture", "critic", "generator weight", "generator gradient"])
def test_nothing_moves_when_the_update_would_not_be_finite(poison: str, before: int) -> None:
    one, other = learner(augment="adaptive"), learner(augment="adaptive")
    run(one, 0, before)
    run(other, 0, before)
    undo: list[Any] = []
    if poison == "generator gradient":  # the critic's half of the step goes well
        hook = one.generator.body.colours.weight.register_hook(lambda gradient: gradient * math.nan)
        undo.append(hook.remove)
    elif poison != "picture":
        weight = one.critic.output.bias if poison == "critic" else one.generator.body.colours.bias
        kept = weight.data.clone()
        weight.data[0] = math.inf if poison == "critic" else math.nan
        undo.append(lambda: weight.data.copy_(kept))
    else:
        inner = one._read
        one._read = lambda batch: (inner(batch)[0] * math.nan, inner(batch)[1])  # type: ignore[method-assign]
        undo.append(lambda: setattr(one, "_read", inner))
    held = everything(one)
    with pytest.raises(NotFinite, match=f"step {before}"):
        one.step(data(before), before, 0.1)
    assert same_bits(everything(one), held)
    for parameter in [*one.critic.parameters(), *one.generator.parameters()]:
        assert parameter.grad is None
    for mend in undo:
        mend()
    assert one.step(data(before), before, 0.1) == other.step(data(before), before, 0.1)
    assert same_bits(everything(one), everything(other)), "the failed step left nothing behind"


def test_noise_depends_on_seed_and_step_alone() -> None:
    options: dict[str, Any] = {"augment": 0.5, "flip": True}
    one, same, other = learner(1, **options), learner(1, **options), learner(2, **options)
    torch.manual_seed(12345)
    told = one.step(data(7), 7, 0.1)
    torch.rand(100)
    assert same.step(data(7), 7, 0.1) == told
    assert other.step(data(7), 7, 0.1) != told
    assert learner(1, **options).step(data(7), 8, 0.1) != told


def test_the_rate_falls_along_a_cosine_to_a_tenth_and_calming_lowers_it() -> None:
    one = learner()
    rates = [one.step(data(0), step, progress)["rate"] for step, progress in enumerate((0.0, 0.5, 1.0))]
    assert rates == pytest.approx([2e-3, 1.1e-3, 2e-4])
    one.calm(0.5)
    one.calm(0.5)
    assert one.step(data(0), 3, 0.0)["rate"] == pytest.approx(5e-4)


def test_a_penalty_now_and_then_weighs_as_much_more() -> None:
    always, seldom, harder = learner(), learner(penalty_every=3), learner()
    harder.penalise(2.0)
    first = always.step(data(0), 0, 0.0)["penalty"]
    assert seldom.step(data(0), 0, 0.0)["penalty"] == pytest.approx(3 * first, rel=1e-5)
    assert harder.step(data(0), 0, 0.0)["penalty"] == pytest.approx(2 * first, rel=1e-5)
    assert [told["penalty"] > 0 for told in run(seldom, 1, 5)] == [False, False, True, False]


def test_real_and_made_pictures_are_changed_with_the_same_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, bool]] = []

    def told(images: Tensor, p: float, *, flip: bool) -> Tensor:
        seen.append((p, flip))
        return images

    monkeypatch.setattr(adversarial, "augmented", told)
    learner(augment=0.4, flip=True).step(data(0), 0, 0.0)
    assert seen == [(0.4, True)] * 3, "real, made for the critic, made for the generator"


class Mean(nn.Module):
    def __init__(self, features: int):
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3)).view(-1, 1).expand(-1, self.features)


def test_the_strength_rises_when_the_critic_is_sure_of_real_pictures() -> None:
    adaptive, fixed, none = learner(augment="adaptive"), learner(augment=0.3), learner()
    for one in (adaptive, fixed, none):
        with torch.no_grad():  # the critic sees how bright a picture is, and real ones are brighter
            for parameter in one.generator.parameters():
                parameter.zero_()
            one.generator.body.colours.bias.fill_(-2.0)
            one.critic.output.weight.fill_(1.0)
            assert one.critic.classes is not None
            one.critic.classes.weight.zero_()
        one.calm(1e-6)
        one.critic.body = Mean(one.critic.output.in_features)
    for step in range(40):
        bright = (np.full((B, 16, 16, 3), 250, np.uint8), np.zeros(B, np.int64))
        told = [one.step(bright, step, 0.0) for one in (adaptive, fixed, none)]
    assert told[0]["sure"] == 1.0
    assert told[0]["augment"] > 0.003
    assert told[1]["augment"] == 0.3
    assert told[2]["augment"] == 0.0


def test_a_frozen_part_of_the_critic_keeps_every_bit() -> None:
    torch.manual_seed(5)
    shape = GANConfig(resolution=16, latent=4, width=8, critic_width=4)
    critic = Discriminator(shape)
    first = critic.body.halvings[0].requires_grad_(False)
    before = {name: value.clone() for name, value in critic.named_parameters()}
    one = Adversarial(
        Generator(shape),
        AdversarialConfig(),
        critic=critic,
        batch_size=B,
        seed=1,
        precision="float32",
        images=9,
    )
    run(one, 0, 2)
    moved = {name for name, value in critic.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if "halvings.0" not in name}
    assert not first.weight.requires_grad
    assert not any("halvings.0" in name for name in one.resume_state())


def test_classes_reach_both_networks_and_some_are_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    one = learner()
    inner = one.generator.forward
    monkeypatch.setattr(
        one.generator, "forward", lambda z, labels: (seen.append(labels), inner(z, labels))[1]
    )
    pixels, _ = data(0, 60)
    for step in range(20):
        one.step((pixels, np.full(60, 2, np.int64)), step, 0.0)
    told = torch.cat(seen)
    assert set(told.tolist()) == {-1, 2}
    assert 60 < int((told == -1).sum()) < 200
    assert learner(model={"classes": 0})._read(data(0))[1] is None


def test_pictures_reach_the_critic_as_numbers_from_minus_one_to_one() -> None:
    pixels = np.zeros((2, 16, 16, 3), np.uint8)
    pixels[0, 3, 5] = (255, 0, 51)
    pixels.flags.writeable = False  # as a mapped file is
    real, _ = learner()._read((pixels, np.zeros(2, np.int64)))
    assert real.shape == (2, 3, 16, 16)
    torch.testing.assert_close(real[0, :, 3, 5], torch.tensor([1.0, -1.0, -0.6]))
    assert (real[1] == -1).all()


def test_mirrored_pictures_are_shown_half_the_time() -> None:
    pixels, labels = data(0, 200)
    torch.manual_seed(1)
    real, _ = learner(flip=True)._read((pixels, labels))
    plain, _ = learner()._read((pixels, labels))
    same = (real == plain).flatten(1).all(1)
    assert bool((same ^ (real == plain.flip(3)).flatten(1).all(1)).all())
    assert 70 < int(same.sum()) < 130


def tiny_critic() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double()


def test_r1_and_r2_equal_finite_differences() -> None:
    critic = tiny_critic()
    images = torch.randn(4, 3, 2, 2, dtype=torch.float64).requires_grad_(True)
    small, slopes = 1e-6, []
    with torch.no_grad():
        for index in range(4):
            total = 0.0
            for place in range(12):
                step = torch.zeros(12, dtype=torch.float64)
                step[place] = small
                step = step.view(1, 3, 2, 2)
                up, down = (critic(images[index : index + 1] + sign * step)[0] for sign in (1, -1))
                total += float((up - down) / (2 * small)) ** 2
            slopes.append(total)
    logits = critic(images)
    assert squared_slope(images, logits).tolist() == pytest.approx(slopes, rel=1e-4)
    penalty = r1_r2(images, logits)
    assert penalty.item() == pytest.approx(sum(slopes[:2]) / 4 + sum(slopes[2:]) / 4, rel=1e-4)
    penalty.backward()  # type: ignore[no-untyped-call]
    weight = critic[1].weight  # type: ignore[index]
    found = weight.grad[0, 0].item()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[0, 0] += sign * 1e-5
        values.append(r1_r2(images, critic(images)).item())
        with torch.no_grad():
            weight[0, 0] -= sign * 1e-5
    assert found == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-3)


def test_the_gradient_penalty_by_hand() -> None:
    """A critic that is 0.5 x everywhere, over 3 x 2 x 2 numbers, has a slope of 0.5 times the root of 12."""
    real, fake = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
    slope = 0.5 * math.sqrt(12)
    found = gradient_penalty(lambda images: 0.5 * images.sum((1, 2, 3)), real, fake)
    assert found.item() == pytest.approx((slope - 1) ** 2, rel=1e-5)
    flat = gradient_penalty(lambda images: 0 * images.sum((1, 2, 3)), real, fake)
    assert flat.item() == pytest.approx(1.0, abs=1e-4)


def test_the_gradient_penalty_looks_between_real_and_made() -> None:
    seen: list[Tensor] = []

    def critic(images: Tensor) -> Tensor:
        seen.append(images.detach())
        return images.sum((1, 2, 3))

    gradient_penalty(critic, torch.zeros(500, 1, 2, 2), torch.ones(500, 1, 2, 2))
    shares = seen[0].flatten(1)
    assert (shares.std(1) == 0).all(), "one share a picture"
    assert 0.4 < shares.mean() < 0.6
    assert shares.min() >= 0
    assert shares.max() <= 1


@pytest.mark.parametrize(
    "wrong",
    [{"penalty": "r3"}, {"gamma": -1.0}, {"penalty_every": 0}, {"learning_rate": 0.0}, {"beta1": 1.0},
     {"augment": 1.5}, {"augment": "some"}, {"ema": 2.0}, {"losss": "hinge"}],
    ids=str,
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AdversarialConfig.model_validate(wrong)


def test_an_unknown_loss_is_answered_with_a_known_one() -> None:
    with pytest.raises(UnknownName, match="relativistic"):
        learner(loss="relativistc")
