"""The extractor `inception`: where its weights are looked for, and what is said of those that are not its own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tests.evaluation.toy_pictures import toy
from torch import nn

from bowerbird.base.errors import CorruptFile, UsageError
from bowerbird.evaluation.extractors import inception
from bowerbird.evaluation.extractors.inception import VARIABLE, build, weights_file

TORCH_FIDELITY = "weights-inception-2015-12-05-6726825d.pth"
PYTORCH_FID = "pt_inception-2015-12-05-6726825d.pth"


class Seen(nn.Module):
    """Stands for torch-fidelity's network: its features are the mean of each colour, as the network is given it."""

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str):
        super().__init__()
        assert (name, features_list) == ("inception-v3-compat", ["2048"])
        self.spread = nn.Linear(3, 2048, bias=False)
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=True))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        assert images.dtype == torch.uint8
        return (self.spread(images.float().mean((2, 3))),)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's own folder of weights, with torch-fidelity as if it were installed and no file named."""
    module = ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Seen  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def weights(path: Path) -> Path:
    torch.save({"spread.weight": torch.eye(2048, 3)}, path)
    return path


def test_weights_are_found_under_the_name_that_either_project_gives_them(cache: Path) -> None:
    assert weights_file() == cache / TORCH_FIDELITY
    other = weights(cache / PYTORCH_FID)
    assert weights_file() == other
    own = weights(cache / TORCH_FIDELITY)
    assert weights_file() == own


def test_a_named_file_comes_before_those_in_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights(cache / TORCH_FIDELITY)
    named = weights(cache.parent / "mine.pth")
    monkeypatch.setenv(VARIABLE, str(named))
    assert weights_file() == named


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_network_is_given_every_colour_in_order(cache: Path, tmp_path: Path, channels: int) -> None:
    weights(cache / TORCH_FIDELITY)
    pictures = np.empty((2, 8, 8, channels), np.uint8)
    pictures[0], pictures[1] = (200, 30, 7, 255)[:channels], (1, 2, 3, 0)[:channels]
    found = build(toy(tmp_path)).features(pictures)[:, :3]
    white = [255, 255, 255]
    expected = {1: [[200] * 3, [1] * 3], 3: [[200, 30, 7], [1, 2, 3]], 4: [[200, 30, 7], white]}[channels]
    assert found.tolist() == expected


def test_other_weights_are_not_said_to_give_published_distances(cache: Path, tmp_path: Path) -> None:
    weights(cache / TORCH_FIDELITY)
    assert "not comparable with published FIDs" in build(toy(tmp_path)).note


def test_the_published_weights_are_known_by_their_digest(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights(cache / TORCH_FIDELITY)
    monkeypatch.setattr(inception, "digest_file", lambda path: "sha256:6726825d0af5f729")
    assert build(toy(tmp_path)).note.endswith("the features that published FIDs are in")


@pytest.mark.parametrize("content", [[torch.zeros(3)], {"spread.weight": torch.zeros(3, 3)}, {}])
def test_tensors_that_are_other_weights_are_refused(cache: Path, tmp_path: Path, content: object) -> None:
    torch.save(content, cache / TORCH_FIDELITY)
    with pytest.raises(CorruptFile, match="not the weights of Inception"):
        build(toy(tmp_path))


def test_a_package_that_does_not_go_with_this_torch_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights(cache / TORCH_FIDELITY)

    def broken(name: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(inception.importlib, "import_module", broken)
    with pytest.raises(UsageError, match="does not exist") as caught:
        build(toy(tmp_path))
    assert "`own` and `gradients`" in (caught.value.hint or "")
