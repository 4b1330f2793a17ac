"""Exponential, logarithm and what is made of them, as polynomials that a compiler can put into vectors.

Coefficients are Cephes' (Moshier 1992, expf and logf): relative errors stay near 1e-7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

_FAST = {"contract", "reassoc", "nsz", "arcp"}
"""Sums may be put into another order, but infinity and what is no number keep their meaning."""

F = np.float32
_LOG2E, _LN2_HIGH, _LN2_LOW = F(1.44269504), F(0.693359375), F(-2.12194440e-4)
_LOWEST, _HIGHEST = F(-87.0), F(88.0)
_E0, _E1, _E2 = F(1.9875691500e-4), F(1.3981999507e-3), F(8.3334519073e-3)
_E3, _E4, _E5 = F(4.1665795894e-2), F(1.6666665459e-1), F(5.0000001201e-1)
_L0, _L1, _L2 = F(7.0376836292e-2), F(-1.1514610310e-1), F(1.1676998740e-1)
_L3, _L4, _L5 = F(-1.2420140846e-1), F(1.4249322787e-1), F(-1.6668057665e-1)
_L6, _L7, _L8 = F(2.0000714765e-1), F(-2.4999993993e-1), F(3.3333331174e-1)
_HALF, _ONE, _TWO, _ZERO = F(0.5), F(1.0), F(2.0), F(0.0)
_BITS, _BIAS, _ROOT_HALF = np.int32(23), np.int32(127), np.int32(0x3F3504F3)

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The function as machine code, kept on disk where that is possible."""
    options: dict[str, Any] = {"nogil": True, "fastmath": _FAST, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for it can be written to
        return numba.njit(**options)(function)


@compiled
def exponential(x: Any) -> Any:
    """exp(x) of a float32; below -87 it is 0."""
    small = x < _LOWEST
    x = min(max(x, _LOWEST), _HIGHEST)
    n = np.floor(x * _LOG2E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    y = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    y = y * (r * r) + r + _ONE
    scale = np.int32((np.int32(n) + _BIAS) << _BITS).view(np.float32)
    return _ZERO if small else y * scale


@compiled
def logarithm(x: Any) -> Any:
    """log(x) of a float32 above 0."""
    bits = np.float32(x).view(np.int32)
    e = np.int32(np.int32(bits - _ROOT_HALF) >> _BITS)
    f = np.int32(bits - np.int32(e << _BITS)).view(np.float32) - _ONE
    power = F(e)
    z = f * f
    y = (((((((_L0 * f + _L1) * f + _L2) * f + _L3) * f + _L4) * f + _L5) * f + _L6) * f + _L7) * f + _L8
    y = y * f * z + power * _LN2_LOW - _HALF * z
    return f + y + power * _LN2_HIGH


@compiled
def sigmoid(x: Any) -> Any:
    return _ONE / (_ONE + exponential(-x))


@compiled
def tanh(x: Any) -> Any:
    return _ONE - _TWO / (exponential(_TWO * x) + _ONE)
