"""Augmentation: gradients pass, nothing happens at p = 0, real and made are changed alike, and its strength follows."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from bowerbird.learning import augment
from bowerbird.learning.augment import HIGHEST, TARGET, Adaptive, augmented, sureness


def pictures(count: int = 6, channels: int = 3, side: int = 16, seed: int = 1) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def only(monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    """Leave one of the changes on."""
    for name in ("_moved", "_cut", "_recoloured"):
        if name != kept:
            monkeypatch.setattr(augment, name, lambda images, *_: images)


@pytest.mark.parametrize("flip", [False, True])
def test_nothing_happens_at_p_0_and_no_noise_is_drawn(flip: bool) -> None:
    images = pictures()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert augmented(images, 0.0, flip=flip) is images
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("fill", ["reflect", "zeros"])
def test_shapes_stay_and_gradients_flow_to_every_picture(channels: int, fill: str) -> None:
    torch.manual_seed(2)
    images = pictures(8, channels).requires_grad_(True)
    out = augmented(images, 0.9, flip=True, fill=fill)  # type: ignore[arg-type]
    assert out.shape == images.shape
    assert torch.isfinite(out).all()
    (out * torch.randn_like(out)).sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


def test_the_gradient_is_the_derivative() -> None:
    images = pictures(2, 3, 8).double().requires_grad_(True)

    def seeded(x: Tensor) -> Tensor:
        torch.manual_seed(4)
        return augmented(x, 0.7, flip=True)

    assert torch.autograd.gradcheck(seeded, (images,), fast_mode=True)


def test_about_a_share_p_of_pictures_is_changed_by_each(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(3000, 3, 8)
    for name, stay in (("_moved", 1 / 9), ("_cut", 0.0), ("_recoloured", None)):
        with monkeypatch.context() as patch:
            only(patch, name)
            torch.manual_seed(5)
            changed = float((augmented(images, 0.3) != images).flatten(1).any(1).float().mean())
        expected = 1 - 0.7**3 if stay is None else 0.3 * (1 - stay)
        assert changed == pytest.approx(expected, abs=0.04), name


def test_changes_do_not_depend_on_what_is_in_the_picture() -> None:
    """With the same noise two different pictures go the same way, so real and made ones fare alike."""
    one, other = pictures(64, 3, 16, seed=1), pictures(64, 3, 16, seed=2)
    outs = []
    for images in (one, other, one + other):
        torch.manual_seed(6)
        outs.append(augmented(images, 0.5, flip=True))
    torch.manual_seed(6)
    nothing = augmented(torch.zeros_like(one), 0.5, flip=True)
    # Each change is a linear map and a constant: f(a + b) = f(a) + f(b) - f(0).
    torch.testing.assert_close(outs[2], outs[0] + outs[1] - nothing, rtol=1e-4, atol=1e-4)
    for images in (one, other):
        torch.manual_seed(6)
        assert (augmented(images, 0.5, flip=True) != images).any()


def test_moving_is_by_whole_pixels_reflected_or_zero_at_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "_moved")
    images = torch.arange(1.0, 65.0).view(1, 1, 8, 8).repeat(300, 1, 1, 1)
    torch.manual_seed(7)
    reflected = augmented(images, 1.0)
    torch.manual_seed(7)
    zeros = augmented(images, 1.0, fill="zeros")
    wide = torch.nn.functional.pad(images[:1], (1, 1, 1, 1), mode="reflect")
    bare = torch.nn.functional.pad(images[:1], (1, 1, 1, 1))
    places = [(y, x) for y in range(3) for x in range(3)]
    seen = set()
    for one, other in zip(reflected, zeros, strict=True):
        match = [(y, x) for y, x in places if torch.equal(wide[0, :, y : y + 8, x : x + 8], one)]
        assert len(match) == 1
        y, x = match[0]
        assert torch.equal(bare[0, :, y : y + 8, x : x + 8], other)
        seen.add(match[0])
    assert seen == set(places), "an eighth of the side, each way"


def test_only_flip_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "_moved")
    monkeypatch.setattr(augment, "SHIFT", 1000)  # by no pixel
    images = pictures(400)
    torch.manual_seed(8)
    assert torch.equal(augmented(images, 1.0), images)
    out = augmented(images, 1.0, flip=True)
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert bool((same ^ mirrored).all())
    assert 150 < int(mirrored.sum()) < 250, "half of them: neither way is the right one"


def test_cutting_makes_a_grey_square_of_at_most_half_the_side(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "_cut")
    torch.manual_seed(9)
    out = augmented(torch.ones(200, 2, 16, 16), 1.0)
    holes = (out == 0).flatten(1).sum(1) // 2
    assert set(out.unique().tolist()) == {0.0, 1.0}
    assert int(holes.max()) == 64
    assert int(holes.min()) >= 16


def test_opacity_is_moved_with_the_picture_and_keeps_its_values() -> None:
    images = pictures(50, 4)
    images[:, 3] = 1.0
    torch.manual_seed(10)
    out = augmented(images, 1.0)
    assert set(out[:, 3].unique().tolist()) == {0.0, 1.0}


def test_sureness_counts_pairs() -> None:
    real = torch.tensor([1.0, 5.0, -2.0, 0.0])
    assert sureness(real, real - 1).item() == 1
    assert sureness(real, real + 100).item() == -1
    assert sureness(real, torch.tensor([0.0, 6.0, -3.0, -1.0])).item() == pytest.approx(0.5)
    assert sureness(real + 50, torch.zeros(4) + 50) == sureness(real, torch.zeros(4)), "whatever their level"


def test_its_strength_rises_when_the_critic_is_sure_and_falls_when_it_is_not() -> None:
    adaptive = Adaptive(speed=1000.0)
    heights = []
    for _ in range(60):
        adaptive.update(1.0, 10)
        heights.append(adaptive.p)
    assert heights[0] == 0.0, "one batch is no evidence"
    assert adaptive.p > 0.4
    assert heights == sorted(heights)
    for _ in range(200):
        adaptive.update(1.0, 10)
    assert adaptive.p == HIGHEST
    for _ in range(30):
        adaptive.update(TARGET - 0.3, 10)
    assert 0 < adaptive.p < HIGHEST
    for _ in range(300):
        adaptive.update(0.0, 10)
    assert adaptive.p == 0.0


def test_its_speed_is_in_pictures() -> None:
    one, other = Adaptive(1000.0, sure=1.0), Adaptive(1000.0, sure=1.0)
    one.update(1.0, 100)
    for _ in range(10):
        other.update(1.0, 10)
    assert one.p == pytest.approx(0.1)
    assert other.p == pytest.approx(0.1)


def test_few_pictures_are_guarded_sooner() -> None:
    speeds = [Adaptive.for_pictures(count).speed for count in (2, 100, 1000, 5000, 10**6)]
    assert speeds == sorted(speeds)
    assert speeds[0] < speeds[2] < speeds[-1]


def test_its_state_goes_through_json_and_back() -> None:
    adaptive = Adaptive(1234.0)
    for _ in range(30):
        adaptive.update(0.9, 8)
    assert Adaptive(**json.loads(json.dumps(adaptive.state()))) == adaptive
