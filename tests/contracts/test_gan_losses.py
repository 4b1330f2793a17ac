"""Every loss on the shelf: it pulls the right way, has the values of the papers, stays finite."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bowerbird.base.errors import UnknownName
from bowerbird.learning.gan_losses import GAN_LOSSES

everyone = pytest.mark.parametrize("name", GAN_LOSSES)
LN2 = math.log(2)


def logits(*values: float) -> Tensor:
    return torch.tensor(values, requires_grad=True)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@everyone
def test_the_critic_is_pulled_to_put_real_above_made(name: str) -> None:
    real, fake = logits(0.3, -0.2, 0.1), logits(0.2, 0.4, -0.6)
    GAN_LOSSES[name].discriminator(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert (real.grad < 0).all(), "raising a real score lowers the loss"
    assert (fake.grad > 0).all()


@everyone
def test_the_generator_is_pulled_to_raise_its_scores(name: str) -> None:
    fake = logits(0.2, 0.4, -0.6)
    GAN_LOSSES[name].generator(torch.tensor([0.3, -0.2, 0.1]), fake).backward()
    assert fake.grad is not None
    assert (fake.grad < 0).all()


@everyone
def test_the_generator_is_not_forgotten_where_the_critic_is_sure(name: str) -> None:
    fake = logits(-30.0, -40.0)
    GAN_LOSSES[name].generator(torch.tensor([30.0, 40.0]), fake).backward()
    assert fake.grad is not None
    assert torch.allclose(fake.grad, torch.tensor(-0.5))


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [("relativistic", LN2, LN2), ("non_saturating", 2 * LN2, LN2), ("hinge", 2.0, 0.0), ("wasserstein", 0.0, 0.0)],
)  # fmt: skip
def test_undecided_losses_are_those_of_the_papers(name: str, critic: float, generator: float) -> None:
    none = torch.zeros(4)
    assert GAN_LOSSES[name].discriminator(none, none).item() == pytest.approx(critic)
    assert GAN_LOSSES[name].generator(none, none).item() == pytest.approx(generator)


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [
        (
            "relativistic",
            (softplus(-1.0 - 2.0) + softplus(-1.0 - 0.5) + softplus(3.0 - 2.0) + softplus(3.0 - 0.5)) / 4,
            (softplus(3.0) + softplus(1.5) + softplus(-1.0) + softplus(-2.5)) / 4,
        ),
        (
            "non_saturating",
            (softplus(-2.0) + softplus(-0.5)) / 2 + (softplus(-1.0) + softplus(3.0)) / 2,
            (softplus(1.0) + softplus(-3.0)) / 2,
        ),
        ("hinge", (0.0 + 0.5) / 2 + (0.0 + 4.0) / 2, -1.0),
        ("wasserstein", 1.0 - 1.25, -1.0),
    ],
)
def test_values_by_hand(name: str, critic: float, generator: float) -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-1.0, 3.0])
    assert GAN_LOSSES[name].discriminator(real, fake).item() == pytest.approx(critic, rel=1e-5)
    assert GAN_LOSSES[name].generator(real, fake).item() == pytest.approx(generator, rel=1e-5)


@everyone
@pytest.mark.parametrize("size", [1e3, 1e6, 1e20])
def test_extreme_logits_give_finite_losses_and_gradients(name: str, size: float) -> None:
    for sign in (1, -1):
        real, fake = logits(sign * size, 0.0), logits(-sign * size, 0.0)
        loss = GAN_LOSSES[name].discriminator(real, fake) + GAN_LOSSES[name].generator(real.detach(), fake)
        loss.backward()
        for value in (loss, real.grad, fake.grad):
            assert value is not None
            assert torch.isfinite(value).all()


@everyone
def test_a_loss_is_a_mean_so_that_a_batch_twice_as_large_weighs_the_same(name: str) -> None:
    real, fake = torch.randn(6), torch.randn(6)
    for part in (GAN_LOSSES[name].discriminator, GAN_LOSSES[name].generator):
        torch.testing.assert_close(part(real.repeat(2), fake.repeat(2)), part(real, fake))
        assert part(real, fake).shape == ()


@everyone
def test_a_loss_says_what_it_is(name: str) -> None:
    assert len(GAN_LOSSES[name].about) > 10


def test_the_level_of_scores_is_free_only_where_the_paper_says_so() -> None:
    real, fake = torch.randn(5), torch.randn(5)
    for name, free in (
        ("relativistic", True),
        ("wasserstein", True),
        ("hinge", False),
        ("non_saturating", False),
    ):
        part = GAN_LOSSES[name].discriminator
        assert torch.allclose(part(real + 3, fake + 3), part(real, fake), atol=1e-5) == free


def test_an_unknown_loss_is_answered_with_a_known_one() -> None:
    with pytest.raises(UnknownName, match="did you mean `hinge`"):
        GAN_LOSSES["hing"]
