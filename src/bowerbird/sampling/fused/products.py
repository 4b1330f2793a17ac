"""Products of a few rows with packed weights, in registers; each number summed in one order, whatever the rows.

M rows, K inputs, N outputs. Weights are packed in panels of `PANEL` outputs, (N / PANEL, K, PANEL), padded with
zeros. Every output is one chain of fused multiply-adds over K, so a row's bits do not depend on the rows beside
it. Written in LLVM's own terms because numba keeps no array in registers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from bowerbird.sampling.fused.weights import PANEL

_LANES = 16
_FLOATS = ir.VectorType(ir.FloatType(), _LANES)
_INTS = ir.VectorType(ir.IntType(32), _LANES)


def _constant(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


def _widened(builder: Any, address: Any, kind: Any) -> Any:
    """`_LANES` weights as float32: float32 itself, bfloat16 as uint16 bit patterns, or int8."""
    if kind == types.float32:
        return builder.load(_vector(builder, address), align=4)
    bits = 16 if kind == types.uint16 else 8
    packed = ir.VectorType(ir.IntType(bits), _LANES)
    loaded = builder.load(builder.bitcast(address, packed.as_pointer()), align=bits // 8)
    if kind == types.uint16:
        upper = ir.Constant(_INTS, [16] * _LANES)
        return builder.bitcast(builder.shl(builder.zext(loaded, _INTS), upper), _FLOATS)
    return builder.sitofp(builder.sext(loaded, _INTS), _FLOATS)


def _vector(builder: Any, address: Any) -> Any:
    return builder.bitcast(address, _FLOATS.as_pointer())


def _spread(builder: Any, value: Any) -> Any:
    """One number in every lane."""
    nothing = ir.Constant(_FLOATS, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_INTS, [0] * _LANES))


def _multiply_add(builder: Any, one: Any, other: Any, more: Any) -> Any:
    """one * other + more, rounded once."""
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{_LANES}f32")
    return builder.call(function, [one, other, more])


def _block(rows: int, panels: int) -> Any:
    """A function that adds the product of so many rows with so many panels to `out`."""
    parts = range(panels * PANEL // _LANES)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out_stride, given_stride, inputs = arguments[2], arguments[5], arguments[10]
        kind = signature.args[6].dtype

        def pointer(place: int) -> Any:
            array = context.make_array(signature.args[place])(context, builder, arguments[place])
            return builder.gep(array.data, [arguments[place + 1]])

        def row_pointers(first: Any, stride: Any) -> list[Any]:
            return [builder.gep(first, [builder.mul(stride, _constant(row))]) for row in range(rows)]

        out_rows, given_rows = row_pointers(pointer(0), out_stride), row_pointers(pointer(3), given_stride)
        weights, scales = pointer(6), pointer(8)
        columns_at = [
            builder.gep(
                weights, [builder.add(builder.mul(inputs, _constant(panel * PANEL)), _constant(lane))]
            )
            for panel in range(panels)
            for lane in range(0, PANEL, _LANES)
        ]
        sums = [[cgutils.alloca_once(builder, _FLOATS) for _ in parts] for _ in range(rows)]
        for place in (place for places in sums for place in places):
            builder.store(ir.Constant(_FLOATS, [0.0] * _LANES), place)
        with cgutils.for_range(builder, inputs) as loop:
            at = builder.mul(loop.index, _constant(PANEL))
            columns = [_widened(builder, builder.gep(column, [at]), kind) for column in columns_at]
            for given, places in zip(given_rows, sums, strict=True):
                value = _spread(builder, builder.load(builder.gep(given, [loop.index])))
                for column, place in zip(columns, places, strict=True):
                    builder.store(_multiply_add(builder, value, column, builder.load(place)), place)
        for out, places in zip(out_rows, sums, strict=True):
            for part, place in zip(parts, places, strict=True):
                lanes = _constant(part * _LANES)
                scale = builder.load(_vector(builder, builder.gep(scales, [lanes])), align=4)
                address = _vector(builder, builder.gep(out, [lanes]))
                total = _multiply_add(builder, builder.load(place), scale, builder.load(address, align=4))
                builder.store(total, address, align=4)
        return context.get_dummy_value()

    @intrinsic
    def block(  # type: ignore[no-untyped-def]
        typing_context, out, out_at, out_stride, given, given_at, given_stride, weights, weights_at,
        scales, scales_at, inputs,
    ):  # fmt: skip
        places = (types.int64, types.int64)
        signature = types.void(
            out, *places, given, *places, weights, types.int64, scales, types.int64, types.int64
        )
        return signature, generate

    return block


_eight, _four, _two, _one = _block(8, 1), _block(4, 1), _block(2, 1), _block(1, 1)
_wide = _block(1, 4)
"""One row needs more than two sums under way to hide how long one takes."""


@njit(nogil=True)
def add_product(
    out: NDArray[Any],
    out_stride: int,
    given: NDArray[Any],
    given_stride: int,
    rows: int,
    weights: NDArray[Any],
    scales: NDArray[Any],
    matrix: NDArray[Any],
) -> None:
    """out += given @ weights for the first rows of both: flat arrays of (rows, stride).

    `matrix` says where: [first weight, first scale, inputs, panels]; see `weights.Packer`.
    """
    inputs, panels = matrix[2], matrix[3]
    panel = 0
    while rows == 1 and panel + 4 <= panels:
        at, scale = matrix[0] + panel * PANEL * inputs, matrix[1] + panel * PANEL
        _wide(out, panel * PANEL, out_stride, given, 0, given_stride, weights, at, scales, scale, inputs)
        panel += 4
    while panel < panels:
        at, scale = matrix[0] + panel * PANEL * inputs, matrix[1] + panel * PANEL
        to, row, by, own = panel * PANEL, 0, out_stride, given_stride
        while row + 8 <= rows:
            _eight(out, row * by + to, by, given, row * own, own, weights, at, scales, scale, inputs)
            row += 8
        if row + 4 <= rows:
            _four(out, row * by + to, by, given, row * own, own, weights, at, scales, scale, inputs)
            row += 4
        if row + 2 <= rows:
            _two(out, row * by + to, by, given, row * own, own, weights, at, scales, scale, inputs)
            row += 2
        if row < rows:
            _one(out, row * by + to, by, given, row * own, own, weights, at, scales, scale, inputs)
        panel += 1
