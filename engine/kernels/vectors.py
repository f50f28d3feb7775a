"""Steps on vectors of sixteen numbers that no compiler finds in loops; LLVM makes of them what a machine has."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTH = 16
"""Numbers of a vector: what AVX-512 takes at once, others in two or four steps."""

COLUMNS_AT_ONCE = 64
"""Columns whose sums stay in registers: four vectors."""

_FLOAT, _BYTE, _FLAG = ir.FloatType(), ir.IntType(8), ir.IntType(1)
_INT, _LONG = ir.IntType(32), ir.IntType(64)
_VECTOR, _ORDER = ir.VectorType(_FLOAT, WIDTH), ir.VectorType(_INT, WIDTH)
_FUSED = ("contract",)
"""A product may be added without rounding it before."""


@intrinsic
def add_chosen_rows(
    typing_context: Any, chosen: Any, x: Any, x_stride: Any, rows: Any, out: Any, keeps: Any
) -> tuple[Any, Any]:
    """Fill ``COLUMNS_AT_ONCE`` sums with x times some of the rows.

    Where ``keeps``, what is there is added in the end: a few large sums would round each product.

    Parameters
    ----------
    chosen
        Which of 64 rows, a bit each.
    x, x_stride
        Address of the number that the first row is multiplied with, and bytes from each to the next.
    rows
        Address of the rows, which follow each other, of ``COLUMNS_AT_ONCE`` float32.
    out
        Address of the sums.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits, x, x_stride, rows, out, keeps = arguments
        x, rows, out = (_address(builder, value) for value in (x, rows, out))
        steps = [_LONG(4 * n) for n in range(0, COLUMNS_AT_ONCE, WIDTH)]
        sums = [cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * WIDTH)) for _ in steps]
        with _each_bit(builder, bits) as row:
            number = builder.load(_at(builder, x, builder.mul(row, x_stride), _FLOAT), align=4)
            factor = _repeated(builder, number)
            values = builder.gep(rows, [builder.mul(row, _LONG(4 * COLUMNS_AT_ONCE))])
            for step, own in zip(steps, sums, strict=True):
                product = builder.fmul(factor, builder.load(_at(builder, values, step, _VECTOR), align=4), flags=_FUSED)
                builder.store(builder.fadd(builder.load(own), product, flags=_FUSED), own)
        with builder.if_then(keeps):
            for step, own in zip(steps, sums, strict=True):
                known = builder.load(_at(builder, out, step, _VECTOR), align=4)
                builder.store(builder.fadd(known, builder.load(own)), own)
        for step, own in zip(steps, sums, strict=True):
            builder.store(builder.load(own), _at(builder, out, step, _VECTOR), align=4)
        return context.get_dummy_value()

    return types.none(types.uint64, types.uintp, types.intp, types.uintp, types.uintp, types.boolean), generate


@intrinsic
def transpose(typing_context: Any, source: Any, source_stride: Any, out: Any, out_stride: Any) -> tuple[Any, Any]:
    """Write 16 x 16 float32 with rows and columns exchanged; a stride is the bytes from a row to the next."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_stride, out, out_stride = arguments
        source, out = _address(builder, source), _address(builder, out)
        rows = [
            builder.load(_at(builder, source, builder.mul(source_stride, _LONG(k)), _VECTOR), align=4)
            for k in range(WIDTH)
        ]
        for bit in (1, 2, 4, 8):  # exchanges what differs in this bit of row and column
            first = ir.Constant(_ORDER, [WIDTH + (i ^ bit) if i & bit else i for i in range(WIDTH)])
            second = ir.Constant(_ORDER, [WIDTH + i if i & bit else i ^ bit for i in range(WIDTH)])
            pairs = [(rows[k & ~bit], rows[k | bit], second if k & bit else first) for k in range(WIDTH)]
            rows = [builder.shuffle_vector(*pair) for pair in pairs]
        for k, row in enumerate(rows):
            builder.store(row, _at(builder, out, builder.mul(out_stride, _LONG(k)), _VECTOR), align=4)
        return context.get_dummy_value()

    return types.none(types.uintp, types.intp, types.uintp, types.intp), generate


def _address(builder: Any, value: Any) -> Any:
    return builder.inttoptr(value, _BYTE.as_pointer())


def _at(builder: Any, address: Any, offset: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(address, [offset]), kind.as_pointer())


def _repeated(builder: Any, number: Any) -> Any:
    """A vector of one number."""
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, number, _INT(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_ORDER, [0] * WIDTH))


@contextmanager
def _each_bit(builder: Any, bits: Any) -> Iterator[Any]:
    """A loop over the positions of the bits that are set, the lowest first."""
    left = cgutils.alloca_once_value(builder, bits)
    ask, work, end = (builder.append_basic_block(name) for name in ("ask", "work", "end"))
    builder.branch(ask)
    builder.position_at_end(ask)
    known = builder.load(left)
    builder.cbranch(builder.icmp_unsigned("!=", known, _LONG(0)), work, end)
    builder.position_at_end(work)
    yield builder.cttz(known, _FLAG(1))
    builder.store(builder.and_(known, builder.sub(known, _LONG(1))), left)
    builder.branch(ask)
    builder.position_at_end(end)
