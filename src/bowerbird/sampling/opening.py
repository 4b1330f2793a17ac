"""Which session samples from a network: the compiled loop where it can be had, else plain torch."""

from __future__ import annotations

from bowerbird.models.rnn import RNN
from bowerbird.sampling.fused.weights import Precision, fits
from bowerbird.sampling.session import Session
from bowerbird.sampling.tokens import TokenRequest, TokenSession


def open_token_session(network: RNN, slots: int, precision: Precision = "float32") -> Session[TokenRequest]:
    """Both give the same tokens but where rounding decides. `precision` is the loop's; torch has float32."""
    if fits(network):
        try:
            from bowerbird.sampling.fused.session import FusedSession
        except ImportError:  # numba comes with the extra `fast`
            pass
        else:
            return FusedSession(network, slots, precision)
    return TokenSession(network, slots)
