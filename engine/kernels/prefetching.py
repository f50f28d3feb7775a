"""Asking for memory before it is needed, where the processor cannot tell what comes next."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from engine.kernels.arrays import compiled

LINE = 64
"""Bytes that a processor fetches together."""

_READ, _KEEP_SOME, _DATA = 0, 2, 1


@intrinsic
def _prefetch_line(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        call = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        builder.call(call, [builder.inttoptr(arguments[0], pointer), number(_READ), number(_KEEP_SOME), number(_DATA)])
        return context.get_dummy_value()

    return types.none(types.uintp), generate


AHEAD = 8
"""Rows that are asked for before they are needed: each lies in other pages, and a processor foresees none of them."""


@compiled
def prefetch(block, begin, end, first, width):
    """Have ``width`` numbers of some rows of ``block`` brought into the cache; the program does not wait for them."""
    address = block.ctypes.data + first * block.itemsize
    for row in range(begin, end):
        for offset in range(0, width * block.itemsize, LINE):
            _prefetch_line(address + row * block.strides[0] + offset)  # type: ignore[call-arg]


@compiled
def prefetch_chosen(block, row, index, begin, end):
    """Have the numbers of one row that ``index`` names from ``begin`` to ``end`` brought into the cache."""
    if row < len(block):
        address = block.ctypes.data + row * block.strides[0]
        for k in range(begin, end):
            _prefetch_line(address + index[k] * block.itemsize)  # type: ignore[call-arg]
