"""Which session a network of tokens gets: compiled loops where they can run, torch everywhere else."""

from __future__ import annotations

import importlib.util

from bowerbird.models.rnn import RNN
from bowerbird.sampling.layout import supported
from bowerbird.sampling.request import TokenRequest
from bowerbird.sampling.session import Session
from bowerbird.sampling.tokens import TokenSession


def open_session(network: RNN, slots: int) -> Session[TokenRequest]:
    """Compiled loops need the extra `fast` (numba), a processor, and an LSTM or GRU in float32."""
    if importlib.util.find_spec("numba") is None or not supported(network):
        return TokenSession(network, slots)
    try:
        from bowerbird.sampling.fused_session import FusedSession
    except ImportError:  # numba is there, but not for this Python or NumPy
        return TokenSession(network, slots)
    return FusedSession(network, slots)
