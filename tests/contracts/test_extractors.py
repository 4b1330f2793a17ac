"""What every extractor on the shelf promises. Inception's network is a stand-in: its own is not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluation.toy_pictures import bars, toy
from torch import nn

from bowerbird.base.errors import UnknownName
from bowerbird.evaluation.extractors import EXTRACTORS, Extractor, extractors_for
from bowerbird.evaluation.extractors import own as own_module
from bowerbird.evaluation.extractors.inception import VARIABLE


class StandIn(nn.Module):
    """Has the face of torch-fidelity's network, and 2048 features that depend on every pixel."""

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str):
        super().__init__()
        self.mix = nn.Linear(3, 2048)
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=True))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        assert images.dtype == torch.uint8
        assert images.shape[1] == 3
        return (self.mix(images.float().mean((2, 3))),)


@pytest.fixture
def torch_fidelity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as if it were installed, and a file of weights that the user has named."""
    package, module = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    package.__spec__ = ModuleSpec("torch_fidelity", None)
    module.FeatureExtractorInceptionV3 = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)
    path = tmp_path / "inception.pth"
    torch.manual_seed(0)
    torch.save({"mix.weight": torch.randn(2048, 3), "mix.bias": torch.zeros(2048)}, path)
    monkeypatch.setenv(VARIABLE, str(path))
    return path


@pytest.fixture(params=list(EXTRACTORS))
def build(
    request: pytest.FixtureRequest, tmp_path: Path, torch_fidelity: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Extractor]:
    """Builds the extractor from a toy dataset; `own` in a handful of steps."""
    monkeypatch.setattr(own_module, "_LEAST_STEPS", 5)
    monkeypatch.setattr(own_module, "_EPOCHS", 1)

    def made(**options: Any) -> Extractor:
        return EXTRACTORS[request.param].build(toy(tmp_path / "dataset", **options))

    (tmp_path / "dataset").mkdir()
    return made


def test_features_are_finite_and_of_the_size_told(build: Callable[..., Extractor]) -> None:
    extractor = build()
    for count in (0, 1, 70):
        features = extractor.features(bars(count, 9)[0])
        assert features.shape == (count, extractor.size)
        assert features.dtype == np.float32
        assert np.isfinite(features).all()


def test_a_picture_s_features_depend_on_it_alone(build: Callable[..., Extractor]) -> None:
    extractor = build()
    pictures = bars(70, 9)[0]
    together = extractor.features(pictures)
    assert np.array_equal(extractor.features(pictures), together)
    assert np.array_equal(extractor.features(pictures[::-1])[::-1], together)
    for at in (0, 33, 69):
        assert np.array_equal(extractor.features(pictures[at : at + 1])[0], together[at])


def test_building_again_gives_the_same_extractor(build: Callable[..., Extractor]) -> None:
    one, other = build(), build()
    pictures = bars(5, 9)[0]
    assert one.digest == other.digest
    assert one.digest.startswith("sha256:")
    assert np.array_equal(one.features(pictures), other.features(pictures))


def test_different_pictures_have_different_features(build: Callable[..., Extractor]) -> None:
    features = build().features(bars(20, 9)[0])
    assert len(np.unique(features, axis=0)) == 20


@pytest.mark.parametrize(("side", "channels"), [(16, 1), (32, 4), (64, 3)])
def test_any_shape_of_picture_is_taken(build: Callable[..., Extractor], side: int, channels: int) -> None:
    extractor = build(side=side, channels=channels)
    pictures = bars(3, 9, side, channels)[0]
    assert np.isfinite(extractor.features(pictures)).all()
    for extreme in (0, 255):
        assert np.isfinite(extractor.features(np.full_like(pictures, extreme))).all()


def test_an_extractor_says_what_it_is(build: Callable[..., Extractor]) -> None:
    assert build().note
    assert EXTRACTORS[build().name].about


def test_extractors_for_gives_two_unlike_ones_and_inception_where_it_is(
    tmp_path: Path, torch_fidelity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_module, "_LEAST_STEPS", 2)
    monkeypatch.setattr(own_module, "_EPOCHS", 0)
    dataset = toy(tmp_path)
    assert [found.name for found in extractors_for(dataset)] == ["own", "gradients", "inception"]
    torch_fidelity.unlink()
    assert [found.name for found in extractors_for(dataset)] == ["own", "gradients"]
    assert [found.name for found in extractors_for(dataset, ["gradients"])] == ["gradients"]
    with pytest.raises(UnknownName, match="gradient"):
        extractors_for(dataset, ["gradient"])
