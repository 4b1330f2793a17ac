"""Generator and discriminator: shapes at every size, classes that matter, pictures that do not know of each other."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bowerbird.models.gan import Discriminator, GANConfig, Generator, critic_widths, generator_widths

SIZES = get_args(GANConfig.model_fields["resolution"].annotation)
shapes = pytest.mark.parametrize("shape", ["conv", "residual"])
SMALL: dict[str, Any] = {"resolution": 16, "latent": 6, "width": 16, "critic_width": 4}


@pytest.fixture(autouse=True)
def _same_numbers_each_time() -> None:
    torch.manual_seed(3)


def pair(**options: Any) -> tuple[Generator, Discriminator]:
    config = GANConfig.model_validate({**SMALL, **options})
    return Generator(config), Discriminator(config)


def stirred(network: nn.Module) -> nn.Module:
    """With nothing left at zero, where residual blocks begin."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return network


def pictures(count: int = 5, channels: int = 3, side: int = 16) -> Tensor:
    return torch.rand(count, channels, side, side) * 2 - 1


@shapes
@pytest.mark.parametrize("resolution", SIZES)
def test_pictures_have_the_size_asked_for_and_each_gets_one_score(shape: str, resolution: int) -> None:
    generator, critic = pair(shape=shape, resolution=resolution, width=8, critic_width=4)
    with torch.no_grad():
        made = generator(torch.randn(2, 6), None)
        scores = critic(made, None)
    assert made.shape == (2, 3, resolution, resolution)
    assert scores.shape == (2,)
    assert made.dtype == scores.dtype == torch.float32
    assert made.abs().max() <= 1
    assert made.std() > 0.01
    assert torch.isfinite(scores).all()


@shapes
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("classes", [0, 1, 7])
def test_channels_and_classes_are_as_configured(shape: str, channels: int, classes: int) -> None:
    generator, critic = pair(shape=shape, channels=channels, classes=classes)
    labels = torch.tensor([0, -1, max(classes - 1, 0)]) if classes else None
    made = generator(torch.randn(3, 6), labels)
    assert made.shape == (3, channels, 16, 16)
    assert critic(made, labels).shape == (3,)


@shapes
def test_a_class_changes_the_picture_and_its_score(shape: str) -> None:
    generator, critic = pair(shape=shape, classes=4)
    generator.eval()
    z, images = torch.randn(1, 6).expand(5, -1), pictures(1).expand(5, -1, -1, -1)
    labels = torch.tensor([0, 1, 2, 3, -1])
    made, scores = generator(z, labels), critic(images, labels)
    for one in range(5):
        for other in range(one):
            assert not torch.allclose(made[one], made[other], atol=1e-3)
            assert not torch.allclose(scores[one], scores[other], atol=1e-5)


@shapes
def test_no_label_is_the_label_of_none(shape: str) -> None:
    generator, critic = pair(shape=shape, classes=4)
    z, images, none = torch.randn(5, 6), pictures(), torch.full((5,), -1)
    assert torch.equal(generator.eval()(z, None), generator(z, none))
    assert torch.equal(critic(images, None), critic(images, none))


@shapes
def test_a_class_that_is_not_there_is_refused(shape: str) -> None:
    generator, critic = pair(shape=shape, classes=4)
    for label in (5, 400):
        with pytest.raises(IndexError):
            generator(torch.randn(1, 6), torch.tensor([label]))
        with pytest.raises(IndexError):
            critic(pictures(1), torch.tensor([label]))


def test_the_score_of_a_class_is_a_projection() -> None:
    """Equation 4 of arXiv:1802.05637: an inner product with the features, added to a score of no class."""
    _, critic = pair(classes=4)
    images = pictures(1)
    features = critic.body(images)[0]
    assert critic.classes is not None
    expected = critic(images, None)[0] + critic.classes.weight[2] @ features
    torch.testing.assert_close(critic(images, torch.tensor([2]))[0], expected)
    plain = critic.output.weight[0] @ features + critic.output.bias[0]
    torch.testing.assert_close(critic(images, None)[0], plain)


def test_what_is_added_for_no_class_stays_nothing() -> None:
    _, critic = pair(classes=4)
    critic(pictures(3), torch.tensor([-1, 2, -1])).sum().backward()
    assert critic.classes is not None
    gradient = critic.classes.weight.grad
    assert gradient is not None
    assert gradient[2].any()
    assert not gradient[[0, 1, 3, 4]].any()


@shapes
def test_out_of_training_a_picture_does_not_depend_on_its_company(shape: str) -> None:
    generator, critic = pair(shape=shape, classes=3)
    stirred(generator)
    with torch.no_grad():
        for _ in range(3):
            generator.train()(torch.randn(8, 6) * 2 + 1, torch.randint(0, 3, (8,)))
        generator.eval()
        z, labels = torch.randn(6, 6), torch.tensor([0, 1, 2, 0, 1, -1])
        whole = generator(z, labels)
        for index in range(6):
            alone = generator(z[index : index + 1], labels[index : index + 1])[0]
            torch.testing.assert_close(alone, whole[index], rtol=1e-4, atol=1e-5)
        images = pictures()
        scores = critic(images, None)
        for index in range(5):
            torch.testing.assert_close(critic(images[index : index + 1], None)[0], scores[index])


def test_parameters_are_as_many_as_counted_by_hand() -> None:
    """At the defaults with one channel: the sums of the layers that findings give, written out."""
    config = GANConfig(channels=1)
    made = [
        64 * 2048 + 2048,
        128 * 96 * 16 + 96 + 96 * 48 * 16 + 48 + 48 * 24 * 16 + 24,
        2 * (128 + 96 + 48 + 24),
        24 * 9 + 1,
    ]
    judged = [16 * 24 + 24, 24 * 48 * 16 + 48, 48 * 96 * 16 + 96, 96 * 128 * 9 + 128, 2048 + 1]
    for network, parts in ((Generator(config), made), (Discriminator(config), judged)):
        assert sum(parameter.numel() for parameter in network.parameters()) == sum(parts)


@pytest.mark.parametrize(
    ("resolution", "generator", "critic"),
    [
        (16, [128, 96, 48], [24, 48, 64]),
        (32, [128, 96, 48, 24], [24, 48, 96, 128]),
        (64, [128, 128, 96, 48, 24], [24, 48, 96, 192, 256]),
        (256, [128, 128, 128, 128, 96, 48, 24], [24, 48, 96, 192, 192, 192, 256]),
    ],
)
def test_widths_follow_the_resolution(resolution: Any, generator: list[int], critic: list[int]) -> None:
    config = GANConfig(resolution=resolution)
    assert generator_widths(config) == generator
    assert critic_widths(config) == critic
    residual = GANConfig(resolution=resolution, shape="residual")
    assert len(critic_widths(residual)) == len(generator), "a stage at each resolution, R x R and 4 x 4 too"
    assert critic_widths(residual)[:2] == [24, 48]


@pytest.mark.parametrize(
    "option",
    [
        {"latent": 7},
        {"width": 24},
        {"classes": 2},
        {"channels": 1},
        {"resolution": 32},
        {"shape": "residual"},
    ],
    ids=str,
)
def test_an_option_changes_the_generator(option: dict[str, Any]) -> None:
    def count(network: nn.Module) -> list[tuple[int, ...]]:
        return [tuple(parameter.shape) for parameter in network.parameters()]

    assert count(pair(**option)[0]) != count(pair()[0])
    if "latent" not in option and "width" not in option:
        assert count(pair(**option)[1]) != count(pair()[1])
    assert count(pair(critic_width=8)[1]) != count(pair()[1])


@shapes
@pytest.mark.parametrize("classes", [0, 3])
def test_every_weight_learns(shape: str, classes: int) -> None:
    generator, critic = pair(shape=shape, classes=classes)
    stirred(generator)
    stirred(critic)
    labels = torch.tensor([0, 1, 2, -1]) if classes else None
    scores = critic(generator(torch.randn(4, 6), labels), labels)
    (scores * torch.tensor([1.0, -2.0, 0.5, 1.5])).sum().backward()
    for network in (generator, critic):
        for name, parameter in network.named_parameters():
            if network is generator and shape == "conv" and ".doublings." in name and name.endswith("bias"):
                continue  # the batch norm after it takes it away again
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


@shapes
def test_a_new_network_keeps_sizes_within_reason(shape: str) -> None:
    """So that a first step neither drowns nor explodes, at a small and at a large size."""
    for resolution in (16, 128):
        generator, critic = pair(shape=shape, resolution=resolution, width=32, critic_width=8, latent=32)
        with torch.no_grad():
            made = generator(torch.randn(8, 32), None)
            scores = critic(torch.randn(8, 3, resolution, resolution).clamp(-1, 1), None)
        assert 0.02 < made.std() < 0.95
        assert 1e-3 < scores.square().mean().sqrt() < 30


@shapes
def test_a_residual_block_begins_as_nothing(shape: str) -> None:
    generator, _ = pair(shape=shape)
    zero = [
        name
        for name, parameter in generator.named_parameters()
        if parameter.ndim == 4 and not parameter.any()
    ]
    assert bool(zero) == (shape == "residual")
    assert all(name.endswith("narrow.weight") for name in zero)


@shapes
def test_weights_of_pictures_lie_channels_last_and_are_loaded_so(shape: str) -> None:
    generator, _ = pair(shape=shape)
    fresh, _ = pair(shape=shape)
    fresh.load_state_dict({name: value.contiguous() for name, value in generator.state_dict().items()})
    for network in (generator, fresh):
        for parameter in network.parameters():
            if parameter.ndim == 4:
                assert parameter.is_contiguous(memory_format=torch.channels_last)
    z = torch.randn(2, 6)
    assert torch.equal(generator.eval()(z, None), fresh.eval()(z, None))


@pytest.mark.parametrize(
    "wrong",
    [{"resolution": 48}, {"resolution": 8}, {"resolution": 512}, {"channels": 2}, {"classes": -1}, {"latent": 0},
     {"width": 0}, {"critic_width": 0}, {"shape": "unet"}, {"widht": 3}, {"width": math.inf}],
    ids=str,
)  # fmt: skip
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GANConfig.model_validate(wrong)
