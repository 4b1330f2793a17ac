"""The network of features: its shape at each resolution, and the units its features are in."""

from __future__ import annotations

import pytest
import torch

from bowerbird.models.extractor import ExtractorConfig, FeatureNetwork, feature_size, stage_widths


@pytest.mark.parametrize(("resolution", "channels"), [(8, 1), (16, 3), (28, 1), (32, 4), (64, 3), (128, 3)])
def test_features_have_one_size_whatever_is_put_out(resolution: int, channels: int) -> None:
    config = ExtractorConfig(resolution=resolution, channels=channels, outputs=7, width=4)
    network = FeatureNetwork(config).eval()
    images = torch.randn(2, channels, resolution, resolution)
    assert network.features(images).shape == (2, feature_size(config))
    assert network(images).shape == (2, 7)


def test_the_last_stage_is_four_to_seven_pixels() -> None:
    for resolution in (16, 28, 32, 64, 256):
        config = ExtractorConfig(resolution=resolution, channels=3, outputs=2, width=4)
        x = torch.randn(1, 3, resolution, resolution)
        for stage in FeatureNetwork(config).eval().stages:
            x = stage(x)
        assert 4 <= x.shape[2] <= 7
        assert x.shape[1] == stage_widths(config)[-1]


def test_settled_features_have_mean_zero_and_the_variance_asked_for() -> None:
    config = ExtractorConfig(resolution=16, channels=3, outputs=2, head="projection", width=8)
    network = FeatureNetwork(config).eval()
    images = torch.rand(64, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        network.settle(network.pooled(images), 100.0)
        features = network.features(images)
    assert features.mean(0).abs().max() < 1e-3
    assert float(features.var(0, correction=0).sum()) == pytest.approx(100, rel=1e-3)


def test_features_that_do_not_vary_are_left_in_their_units() -> None:
    network = FeatureNetwork(ExtractorConfig(resolution=16, channels=3, outputs=2, width=4))
    network.settle(torch.ones(5, feature_size(network.config)), 100.0)
    assert float(network.scale) == 1
