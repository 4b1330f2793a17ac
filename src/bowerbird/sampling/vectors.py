"""Products of packed weights, in vectors of 16 numbers written out for the compiler.

Each output is added up input by input, in a register of its own: so its bits are the same however many rows
are computed together. Vectors are spelled in LLVM's language because a compiler given loops would keep the
sums in memory. Any processor can run them: LLVM splits a vector where its own are shorter.

A panel is (inputs, PANEL) weights of PANEL outputs, so that a step of the sum reads one run of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from bowerbird.sampling.layout import PANEL

LANES = 16
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)


def has_wide_vectors() -> bool:
    """Whether this processor has 32 registers for vectors of 16 numbers (AVX-512), not 16 for 8 of them or fewer."""
    return bool(binding.get_host_cpu_features().get("avx512f", False))


def tile(rows: int, panels: int) -> Callable[..., None]:
    """The product for `rows` rows and `panels` panels of outputs, as a function to call from a kernel.

    Its arguments: packed weights and the first panel's place there; inputs per row; the inputs (rows, I), the
    list of rows there and where in it to begin; the outputs (rows, O), the list of rows there and the first
    output; numbers, and the place of the bias among them. `outputs = bias + weights @ inputs`.
    """
    vectors = panels * PANEL // LANES
    per_panel = PANEL // LANES

    @intrinsic
    def product(
        typing: Any,
        weights: Any,
        at: Any,
        count: Any,
        inputs: Any,
        sources: Any,
        first: Any,
        outputs: Any,
        targets: Any,
        column: Any,
        numbers: Any,
        bias: Any,
    ) -> Any:
        whole = types.int64
        signature = types.void(
            weights, whole, whole, inputs, sources, whole, outputs, targets, whole, numbers, whole
        )

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def data(index: int) -> Any:
                return cgutils.create_struct_proxy(signature.args[index])(context, builder, values[index])

            packed, given, given_rows, out, out_rows, held = (data(index) for index in (0, 3, 4, 6, 7, 9))
            at, count, first, column, bias = (values[index] for index in (1, 2, 5, 8, 10))
            word = count.type

            def row_of(array: Any, listed: Any, number: int) -> Any:
                slot = builder.load(builder.gep(listed.data, [builder.add(first, word(number))]))
                stride = builder.extract_value(array.shape, 1)
                return builder.gep(array.data, [builder.mul(slot, stride)])

            x_rows = [row_of(given, given_rows, number) for number in range(rows)]
            weight_rows = [
                builder.gep(packed.data, [builder.add(at, builder.mul(count, word(panel * PANEL)))])
                for panel in range(panels)
            ]
            before = builder.block
            loop = builder.append_basic_block("inputs")
            after = builder.append_basic_block("outputs")
            builder.branch(loop)
            builder.position_at_end(loop)
            index = builder.phi(word)
            index.add_incoming(word(0), before)
            sums = []
            for _ in range(rows * vectors):
                total = builder.phi(_VECTOR)
                total.add_incoming(ir.Constant(_VECTOR, [0.0] * LANES), before)
                sums.append(total)
            start = builder.mul(index, word(PANEL))
            loaded = []
            for vector in range(vectors):
                place = builder.add(start, word(vector % per_panel * LANES))
                pointer = builder.gep(weight_rows[vector // per_panel], [place])
                loaded.append(builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4))
            multiply_add = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fmuladd.v{LANES}f32"
            )
            new = []
            for number in range(rows):
                x = _spread(builder, builder.load(builder.gep(x_rows[number], [index])))
                for vector in range(vectors):
                    new.append(
                        builder.call(multiply_add, [loaded[vector], x, sums[number * vectors + vector]])
                    )
            for total, value in zip(sums, new, strict=True):
                total.add_incoming(value, loop)
            following = builder.add(index, word(1))
            index.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
            builder.position_at_end(after)
            for vector in range(vectors):
                offset = word(vector * LANES)
                pointer = builder.gep(held.data, [builder.add(bias, offset)])
                biases = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)
                for number in range(rows):
                    total = builder.fadd(new[number * vectors + vector], biases)
                    pointer = builder.gep(row_of(out, out_rows, number), [builder.add(column, offset)])
                    builder.store(total, builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)
            return context.get_dummy_value()

        return signature, generate

    return product


def _spread(builder: Any, number: Any) -> Any:
    """One number in all lanes."""
    lane = ir.IntType(32)
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    vector = builder.insert_element(nothing, number, lane(0))
    return builder.shuffle_vector(vector, nothing, ir.Constant(ir.VectorType(lane, LANES), [0] * LANES))
