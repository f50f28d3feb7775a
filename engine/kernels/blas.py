"""One product that is added to what is there: numba's ``np.dot`` can only overwrite, which costs two more passes."""

from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 (the BLAS that numba calls)
from numba import types
from numba.core.typing import signature

from engine.kernels.arrays import compiled

_char, _size, _address = types.char, types.intp, types.uintp
_gemm: Any = types.ExternalFunction(  # numba's own bridge to BLAS, through which np.dot goes
    "numba_xxgemm",
    signature(
        types.intc,
        *(_char, _char, _char, _size, _size, _size, _address, _address, _size),
        *(_address, _size, _address, _address, _size),
    ),
)
_S, _N, _T = ord("s"), ord("n"), ord("t")


@compiled
def add_dot(a, b, keeps, out):
    """Fill ``out`` with the first columns of ``a``, as many as it has rows, times ``b``; all float32, without gaps.

    Parameters
    ----------
    a
        (stimulus, column); its last columns are left out if ``out`` has no place for them.
    b
        (stimulus, unit).
    keeps
        Whether to add to what is there.
    out
        (column, unit).
    """
    # numba frees what these two hold at the end of the block that calls, not before: only their addresses are used
    one, beta = np.ones(1, np.float32), np.full(1, 1.0 if keeps else 0.0, np.float32)
    n_units, n_columns = b.shape[1], len(out)
    _gemm(
        _S, _N, _T, n_units, n_columns, len(a), one.ctypes.data, b.ctypes.data, n_units,
        a.ctypes.data, a.shape[1], beta.ctypes.data, out.ctypes.data, n_units,
    )  # fmt: skip
