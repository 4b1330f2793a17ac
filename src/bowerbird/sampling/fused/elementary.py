"""exp, log, sigmoid and tanh of float32, written so that loops over them become vector code.

Polynomials after Cephes (Moshier 1992, single precision); within 2e-7 of the true value, relative for exp.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_F = np.float32
_INT = ir.IntType(32)
_FLOAT = ir.FloatType()
_LOG2_E = _F(1.44269504088896341)
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)
_E0, _E1, _E2 = _F(1.9875691500e-4), _F(1.3981999507e-3), _F(8.3334519073e-3)
_E3, _E4, _E5 = _F(4.1665795894e-2), _F(1.6666665459e-1), _F(5.0000001201e-1)
_L0, _L1, _L2 = _F(7.0376836292e-2), _F(-1.1514610310e-1), _F(1.1676998740e-1)
_L3, _L4, _L5 = _F(-1.2420140846e-1), _F(1.4249322787e-1), _F(-1.6668057665e-1)
_L6, _L7, _L8 = _F(2.0000714765e-1), _F(-2.4999993993e-1), _F(3.3333331174e-1)
_HALF, _ONE, _TWO, _ROOT_TWO = _F(0.5), _F(1), _F(2), _F(1.41421356237)
_LEAST, _MOST = _F(-87.3), _F(88.0)
_LEAST_NORMAL = _F(1.1754944e-38)


def _bits(value: int) -> Any:
    return ir.Constant(_INT, value)


@intrinsic
def _two_to(typing_context, power):  # type: ignore[no-untyped-def]
    """2 to a whole power, given as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = builder.fptosi(arguments[0], _INT)
        return builder.bitcast(builder.shl(builder.add(whole, _bits(127)), _bits(23)), _FLOAT)

    return types.float32(types.float32), generate


@intrinsic
def _exponent(typing_context, x):  # type: ignore[no-untyped-def]
    """The power of two in a positive number, as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = builder.lshr(builder.bitcast(arguments[0], _INT), _bits(23))
        return builder.sitofp(builder.sub(whole, _bits(127)), _FLOAT)

    return types.float32(types.float32), generate


@intrinsic
def _mantissa(typing_context, x):  # type: ignore[no-untyped-def]
    """What is left of a positive number without its power of two: 1 up to 2."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kept = builder.and_(builder.bitcast(arguments[0], _INT), _bits(0x7FFFFF))
        return builder.bitcast(builder.or_(kept, _bits(0x3F800000)), _FLOAT)

    return types.float32(types.float32), generate


@njit(inline="always")
def exp(x: Any) -> Any:
    """Exactly 0 below -87.3."""
    inside = min(max(x, _LEAST), _MOST)
    power = np.floor(inside * _LOG2_E + _HALF)
    rest = inside - power * _LN2_HIGH - power * _LN2_LOW
    series = ((((_E0 * rest + _E1) * rest + _E2) * rest + _E3) * rest + _E4) * rest + _E5
    value = (series * rest * rest + rest + _ONE) * _two_to(power)
    return value if x >= _LEAST else _F(0)


@njit(inline="always")
def log(x: Any) -> Any:
    """Of the least normal number for anything less."""
    inside = max(x, _LEAST_NORMAL)
    power, rest = _exponent(inside), _mantissa(inside)
    large = rest > _ROOT_TWO
    power = power + _ONE if large else power
    rest = (rest * _HALF if large else rest) - _ONE
    square = rest * rest
    low = (((_L0 * rest + _L1) * rest + _L2) * rest + _L3) * rest + _L4
    series = (((low * rest + _L5) * rest + _L6) * rest + _L7) * rest + _L8
    return rest + (series * rest * square + power * _LN2_LOW - _HALF * square) + power * _LN2_HIGH


@njit(inline="always")
def sigmoid(x: Any) -> Any:
    return _ONE / (_ONE + exp(-x))


@njit(inline="always")
def tanh(x: Any) -> Any:
    return _ONE - _TWO / (exp(_TWO * x) + _ONE)
