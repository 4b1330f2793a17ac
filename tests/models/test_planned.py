"""How large a network would be is found out without making it, and without what only a compiler needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

from bowerbird.models.planned import check_size

MEASURE = """
import sys
from bowerbird.models.cache import CacheConfig
from bowerbird.models.gan import Generator, GANConfig
from bowerbird.models.planned import check_size
from bowerbird.models.rnn import RNN, RNNConfig

for build in (
    lambda: RNN(RNNConfig(width=8, cache=CacheConfig(), ngrams=3), 9),
    lambda: RNN(RNNConfig(width=8, cell="gru", tied=False), 9),
    lambda: Generator(GANConfig(classes=2)),
):
    check_size(build, build().state_dict())
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def test_a_network_that_its_weights_cannot_fill_is_refused() -> None:
    check_size(lambda: nn.Linear(3, 2), nn.Linear(3, 2).state_dict())
    with pytest.raises(ValueError, match="8 parameters, and 6 numbers"):
        check_size(lambda: nn.Linear(3, 2), {"weight": nn.Linear(3, 2).weight})
    with pytest.raises(ValueError, match="parameters"):
        check_size(lambda: nn.Linear(1 << 20, 1 << 30), nn.Linear(3, 2).state_dict())


def test_what_only_a_compiler_needs_is_not_loaded() -> None:
    told = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
