"""One row through a cell's gates, and through a norm, compiled. The states are changed in place.

D width; the gates are those of `models.cells`, in their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bowerbird.sampling.fused.elementary import sigmoid, tanh
from bowerbird.sampling.fused.weights import LAYER_NORM

_F = np.float32


@njit(nogil=True, error_model="numpy")
def lstm(gates: NDArray[Any], h: NDArray[Any], c: NDArray[Any]) -> None:
    """(4 D), (D), (D)"""
    width = len(h)
    enter, forget = gates[:width], gates[width : 2 * width]
    candidate, output = gates[2 * width : 3 * width], gates[3 * width : 4 * width]
    for unit in range(width):
        memory = sigmoid(forget[unit]) * c[unit] + sigmoid(enter[unit]) * tanh(candidate[unit])
        c[unit] = memory
        h[unit] = sigmoid(output[unit]) * tanh(memory)


@njit(nogil=True, error_model="numpy")
def gru(from_input: NDArray[Any], from_output: NDArray[Any], h: NDArray[Any]) -> None:
    """(3 D), (3 D), (D)"""
    width = len(h)
    reset_x, update_x, new_x = from_input[:width], from_input[width : 2 * width], from_input[2 * width :]
    reset_h, update_h, new_h = from_output[:width], from_output[width : 2 * width], from_output[2 * width :]
    for unit in range(width):
        update = sigmoid(update_x[unit] + update_h[unit])
        candidate = tanh(new_x[unit] + sigmoid(reset_x[unit] + reset_h[unit]) * new_h[unit])
        h[unit] = (_F(1) - update) * candidate + update * h[unit]


@njit(nogil=True, error_model="numpy")
def elman(gates: NDArray[Any], h: NDArray[Any]) -> None:
    """(D), (D)"""
    for unit in range(len(h)):
        h[unit] = tanh(gates[unit])


@njit(nogil=True, error_model="numpy")
def normalise(
    given: NDArray[Any],
    scale: NDArray[Any],
    shift: NDArray[Any],
    epsilon: float,
    kind: int,
    out: NDArray[Any],
) -> None:
    """Layer norm or rms norm of one row, (D) to (D)."""
    size = len(given)
    mean, square = 0.0, 0.0
    if kind == LAYER_NORM:
        for index in range(size):
            mean += given[index]
        mean /= size
    for index in range(size):
        square += (given[index] - mean) ** 2
    factor, middle = _F(1 / np.sqrt(square / size + epsilon)), _F(mean)
    for index in range(size):
        out[index] = (given[index] - middle) * factor * scale[index] + shift[index]
