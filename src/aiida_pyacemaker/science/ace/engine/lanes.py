# mypy: allow-untyped-defs, allow-untyped-calls
"""
Eight floats side by side, ``<8 x double>``, as a type of numba.

A fixed number of lanes lets one compiled kernel serve every potential, and says to LLVM what it cannot prove of plain
loops over arrays. The operators + - * / may contract to fused multiply-add; no flag lets them forget NaN. Loads and
stores take flat arrays and do not check bounds: who calls pads.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, models, overload, register_model

N_LANES = 8
_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, N_LANES)
_INDEX = ir.IntType(32)
_ALIGNED = 8  # bytes that every address is known to be a multiple of


class LanesType(types.Type):
    """Type of eight floats."""

    def __init__(self) -> None:
        super().__init__(name='Lanes')


LANES = LanesType()


@register_model(LanesType)
class LanesModel(models.PrimitiveModel):
    """Kept in one vector register (or two halves of one)."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _address(context, builder, signature, args, vector):
    """Return the pointer to element args[1] of the flat array args[0], as a pointer to ``vector``."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), vector.as_pointer())


def _shuffle(builder, first, second, lanes):
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(_INDEX, len(lanes)), list(lanes)))


def _splat(builder, value):
    start = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, _INDEX(0))
    return _shuffle(builder, start, start, [0] * N_LANES)


@intrinsic
def load(typing_context, array, index):
    """Return ``array[index:index + 8]``."""

    def generate(context, builder, signature, args):
        return builder.load(_address(context, builder, signature, args, _VECTOR), align=_ALIGNED)

    return LANES(array, types.intp), generate


@intrinsic
def store(typing_context, array, index, value):
    """Set ``array[index:index + 8]``."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _address(context, builder, signature, args, _VECTOR), align=_ALIGNED)
        return context.get_dummy_value()

    return types.void(array, types.intp, LANES), generate


@intrinsic
def spread(typing_context, array, index):
    """Return ``array[index]`` in all lanes."""

    def generate(context, builder, signature, args):
        return _splat(builder, builder.load(_address(context, builder, signature, args, _DOUBLE)))

    return LANES(array, types.intp), generate


@intrinsic
def splat(typing_context, value):
    """Return ``value`` in all lanes."""

    def generate(context, builder, signature, args):
        return _splat(builder, args[0])

    return LANES(types.float64), generate


@intrinsic
def store_integers(typing_context, array, index, value):
    """Set ``array[index:index + 8]``, of 32-bit integers, to the lanes, cut towards zero."""
    integers = ir.VectorType(_INDEX, N_LANES)

    def generate(context, builder, signature, args):
        target = _address(context, builder, signature, args, integers)
        builder.store(builder.fptosi(args[2], integers), target, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, LANES), generate


@intrinsic
def subtract_four(typing_context, array, index, value):
    """Subtract the first four lanes from ``array[index:index + 4]``."""
    half = ir.VectorType(_DOUBLE, 4)

    def generate(context, builder, signature, args):
        target = _address(context, builder, signature, args, half)
        before = builder.load(target, align=_ALIGNED)
        builder.store(builder.fsub(before, _shuffle(builder, args[2], args[2], range(4))), target, align=_ALIGNED)
        return context.get_dummy_value()

    return types.void(array, types.intp, LANES), generate


def _unary(name):
    """Return an intrinsic that is one LLVM function of the lanes."""

    @intrinsic
    def function(typing_context, value):
        def generate(context, builder, signature, args):
            kind = ir.FunctionType(_VECTOR, [_VECTOR])
            known = builder.module.globals.get(name)
            return builder.call(known or ir.Function(builder.module, kind, name), args)

        return LANES(LANES), generate

    return function


root = _unary('llvm.sqrt.v8f64')
truncate = _unary('llvm.trunc.v8f64')


@intrinsic
def least(typing_context, first, second):
    """Return the smaller of each lane, ``second`` where ``first`` is NaN."""

    def generate(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered('<', *args), *args)

    return LANES(LANES, LANES), generate


def _pair_sums(builder, rows):
    """Add lanes pairwise: eight rows to one vector whose lane i is the total of row i, always in one order."""
    lanes, width = list(rows), 1
    while len(lanes) > 1:
        lanes = [
            builder.fadd(*(_shuffle(builder, a, b, _interleave(width, offset)) for offset in (0, width)))
            for a, b in zip(lanes[::2], lanes[1::2], strict=True)
        ]
        width *= 2
    return lanes[0]


def _interleave(width, offset):
    """Return the lanes with bit ``width`` equal to ``offset`` of a and b, those of b where the result has it set."""
    return [(i & ~width) + offset + (N_LANES if i & width else 0) for i in range(N_LANES)]


@intrinsic
def totals(typing_context, rows):
    """Return the sums over the lanes of eight rows, lane i that of row i."""

    def generate(context, builder, signature, args):
        return _pair_sums(builder, [builder.extract_value(args[0], i) for i in range(N_LANES)])

    return LANES(types.UniTuple(LANES, N_LANES)), generate


@intrinsic
def total(typing_context, value):
    """Return the sum over the lanes, halves first."""

    def generate(context, builder, signature, args):
        lanes = args[0]
        for width in (4, 2, 1):
            lanes = builder.fadd(lanes, _shuffle(builder, lanes, lanes, [i ^ width for i in range(N_LANES)]))
        return builder.extract_element(lanes, _INDEX(0))

    return types.float64(LANES), generate


@intrinsic
def transpose(typing_context, rows):
    """Return the transpose of eight rows."""
    kind = types.UniTuple(LANES, N_LANES)

    def generate(context, builder, signature, args):
        lanes = [builder.extract_value(args[0], i) for i in range(N_LANES)]
        for width in (1, 2, 4):
            swapped = list(lanes)
            for i in (i for i in range(N_LANES) if not i & width):
                a, b = lanes[i], lanes[i | width]
                swapped[i] = _shuffle(builder, a, b, _interleave(width, 0))
                swapped[i | width] = _shuffle(builder, a, b, _interleave(width, width))
            lanes = swapped
        return context.make_tuple(builder, kind, lanes)

    return kind(kind), generate


def _binary(name):
    """Return the intrinsic of one arithmetic operation."""

    @intrinsic
    def function(typing_context, first, second):
        def generate(context, builder, signature, args):
            return getattr(builder, name)(*args, flags=('contract',))

        return LANES(LANES, LANES), generate

    return function


_add, _subtract, _multiply, _divide = (_binary(name) for name in ('fadd', 'fsub', 'fmul', 'fdiv'))


def _is_lanes(*kinds):
    return all(isinstance(kind, LanesType) for kind in kinds)


@overload(operator.add)
def _overload_add(first, second):
    return (lambda first, second: _add(first, second)) if _is_lanes(first, second) else None


@overload(operator.sub)
def _overload_subtract(first, second):
    return (lambda first, second: _subtract(first, second)) if _is_lanes(first, second) else None


@overload(operator.mul)
def _overload_multiply(first, second):
    return (lambda first, second: _multiply(first, second)) if _is_lanes(first, second) else None


@overload(operator.truediv)
def _overload_divide(first, second):
    return (lambda first, second: _divide(first, second)) if _is_lanes(first, second) else None
