"""Pictures depend on their own job alone, and a walk between two seeds keeps to where noise lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bowerbird.models.gan import GANConfig, Generator
from bowerbird.sampling import images
from bowerbird.sampling.images import SMALLER, TILE, ImageJob, ImageSession, latent, latents, pictures, walk
from bowerbird.sampling.session import run_all

SIZE, CLASSES = 12, 3


class Drawing(nn.Module):
    """A generator of 8 x 8 pictures with random weights."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.classes = nn.Embedding(classes, SIZE) if classes else None
        self.first = nn.Linear(SIZE, 32 * 16)
        self.norm = nn.BatchNorm2d(32)
        self.second = nn.ConvTranspose2d(32, 3, 4, 2, 1)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if self.classes is not None:
            assert labels is not None
            z = z + self.classes(labels)
        return torch.tanh(self.second(self.norm(self.first(z).view(-1, 32, 4, 4)).relu()))


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return Drawing(CLASSES)


def made(network: nn.Module, jobs: list[ImageJob], slots: int = 64) -> list[NDArray[np.uint8]]:
    session = ImageSession(network, slots, size=SIZE, classes=CLASSES)
    found: dict[int, Any] = {}
    for progress in run_all(session, jobs):
        assert progress.chunk.finished == "stop"
        assert progress.index not in found
        found[progress.index] = progress.chunk.content
    return [found[index] for index in range(len(jobs))]


def test_a_latent_is_numpys_normal_noise_of_its_seed() -> None:
    assert latent(1, 3) == pytest.approx([0.345584192064786, 0.8216181435011584, 0.33043707618338714])
    assert latent(1, 3, 0.5) == pytest.approx(latent(1, 3) / 2)
    assert not np.array_equal(latent(1, 64), latent(2, 64))


def test_a_walk_goes_from_one_latent_to_the_other_along_the_circle() -> None:
    a, b = np.array([3, 0], np.float32), np.array([0, 3], np.float32)
    path = walk(a, b, 5)
    angles = np.degrees(np.arctan2(path[:, 1], path[:, 0]))
    assert angles == pytest.approx([0, 22.5, 45, 67.5, 90], abs=1e-4)
    assert np.linalg.norm(path, axis=1) == pytest.approx(np.full(5, 3.0))
    assert walk(a, a, 3) == pytest.approx(np.stack([a, a, a]))
    longer = np.array([0, 9], np.float32)
    assert np.linalg.norm(walk(a, longer, 3), axis=1) == pytest.approx([3, 6, 9])


def test_a_walk_begins_and_ends_with_its_seeds() -> None:
    path = latents(ImageJob(7, to_seed=8, frames=6), 64)
    assert path.shape == (6, 64)
    assert path[0] == pytest.approx(latent(7, 64), abs=1e-5)
    assert path[-1] == pytest.approx(latent(8, 64), abs=1e-5)


@pytest.mark.parametrize("slots", [1, 5, 64])
def test_company_changes_no_bit_of_a_picture(drawing: Drawing, slots: int) -> None:
    jobs = [ImageJob(seed, label=seed % CLASSES) for seed in range(2 * TILE + 3)]
    alone = [made(drawing, [job])[0] for job in jobs]
    together = made(drawing, jobs, slots)
    backwards = made(drawing, jobs[::-1], slots)[::-1]
    for one, other, last in zip(alone, together, backwards, strict=True):
        assert one.shape == (1, 8, 8, 3)
        assert np.array_equal(one, other)
        assert np.array_equal(one, last)
    assert len({one.tobytes() for one in alone}) == len(jobs)


class Rounding(nn.Module):
    """A generator whose last digits depend on how many pictures it makes together, but for some numbers of them."""

    def __init__(self, *alike: int) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))
        self.alike, self.asked = alike, list[int]()

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        self.asked.append(len(z))
        off = 0.0 if len(z) in self.alike else 1e-6
        return (z[:, :1, None, None] / 8 + self.level + off).expand(-1, 1, 2, 2)


def noise_of(count: int) -> NDArray[np.float32]:
    return np.stack([latent(seed, SIZE) for seed in range(100, 100 + count)])


@pytest.mark.parametrize(
    ("alike", "sizes"),
    [
        ((16,), {1: 16, 3: 16, 9: 16}),
        ((4, 16), {1: 4, 4: 4, 5: 16}),
        ((1, 2, 4, 8, 16), {1: 1, 2: 2, 3: 4, 8: 8, 9: 16}),
    ],
)
def test_fewer_are_computed_together_only_where_no_bit_differs(
    alike: tuple[int, ...], sizes: dict[int, int]
) -> None:
    network = Rounding(*alike)
    pictures(network, noise_of(1), None)
    assert network.asked == [TILE], "the first time nothing is tried"
    pictures(network, noise_of(1), None)
    for count, size in sizes.items():
        network.asked.clear()
        pictures(network, noise_of(count), None)
        assert network.asked == [size]
    network.asked.clear()
    pictures(network, noise_of(TILE + 1), None)
    assert network.asked == [TILE, sizes[1]]


def test_other_threads_are_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Rounding(*SMALLER, TILE)
    for _ in range(3):
        pictures(network, noise_of(1), None)
    assert network.asked[-1] == 1
    threads = torch.get_num_threads() + 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    pictures(network, noise_of(1), None)
    assert network.asked[-1] == TILE


@pytest.mark.parametrize("shape", ["conv", "residual"])
def test_a_picture_of_our_generators_is_the_same_in_every_number(shape: str) -> None:
    torch.manual_seed(2)
    network = Generator(GANConfig.model_validate({"shape": shape, "latent": SIZE, "width": 32}))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.1)
    noise = noise_of(TILE + 9)
    together = pictures(network, noise, None)
    for count in (1, 1, 1, 2, 3, 5, 9, TILE + 1):
        assert np.array_equal(pictures(network, noise[:count], None), together[:count])


def test_a_film_is_made_of_the_pictures_on_its_way(drawing: Drawing) -> None:
    film = made(drawing, [ImageJob(4, label=1, to_seed=9, frames=20), ImageJob(4, label=1)])
    assert film[0].shape == (20, 8, 8, 3)
    ends = [made(drawing, [ImageJob(seed, label=1)])[0][0] for seed in (4, 9)]
    for frame, end in zip((film[0][0], film[0][-1]), ends, strict=True):
        assert np.abs(frame.astype(int) - end.astype(int)).max() <= 1
    assert np.array_equal(film[1][0], ends[0])


def test_the_class_shows(drawing: Drawing) -> None:
    first, second = made(drawing, [ImageJob(1, label=0), ImageJob(1, label=2)])
    assert not np.array_equal(first, second)


def test_less_truncation_is_more_alike(drawing: Drawing) -> None:
    def spread(truncation: float) -> float:
        some = made(drawing, [ImageJob(seed, 0, truncation) for seed in range(32)])
        return float(np.concatenate(some).astype(float).std(0).mean())

    assert spread(0.3) < 0.7 * spread(1.0)


def test_without_classes_the_network_is_told_none() -> None:
    session = ImageSession(Drawing(0), 4, size=SIZE, classes=0)
    assert session.admit(ImageJob(1)) is not None
    assert session.step()[0].content.shape == (1, 8, 8, 3)


def test_slots_are_given_out_once_and_come_back(drawing: Drawing) -> None:
    session = ImageSession(drawing, 2, size=SIZE, classes=CLASSES)
    slots = [session.admit(ImageJob(seed, 0)) for seed in range(3)]
    assert set(slots[:2]) == {0, 1}
    assert slots[2] is None
    assert slots[0] is not None
    session.release(slots[0])
    assert session.admit(ImageJob(9, 0)) == slots[0]
    assert {chunk.slot for chunk in session.step()} == {0, 1}
    assert session.step() == []


def test_a_paused_request_keeps_its_slot_and_is_made_when_resumed(drawing: Drawing) -> None:
    session = ImageSession(drawing, 2, size=SIZE, classes=CLASSES)
    first, second = session.admit_many([ImageJob(1, 0), ImageJob(2, 0)])
    assert first is not None
    session.pause(first)
    assert [chunk.slot for chunk in session.step()] == [second]
    assert session.step() == []
    assert session.admit_many([ImageJob(3, 0), ImageJob(4, 0)]) == [second, None]
    session.resume(first)
    assert sorted(chunk.slot for chunk in session.step()) == [0, 1]
    assert session.state(first) is None


def test_much_that_is_asked_at_once_is_made_in_several_steps(
    drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MOST_FRAMES", 10)
    session = ImageSession(drawing, 8, size=SIZE, classes=CLASSES)
    for seed in range(4):
        session.admit(ImageJob(seed, 0, to_seed=seed + 1, frames=4))
    session.admit(ImageJob(9, 0, to_seed=1, frames=30))
    sizes = []
    while chunks := session.step():
        sizes.append([len(chunk.content) for chunk in chunks])
    assert sizes == [[4, 4], [4, 4], [30]]
