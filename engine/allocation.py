"""How a pass keeps the memory that it frees for its next batch.

Large tensors that are freed go back to the system and are faulted in again page by page, which alone can double the
time of a forward pass. On glibc the allocator can be told to keep them.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEEP = 2**30
_USUAL = 32 * 2**20
"""glibc's own upper limit of the threshold that it adapts by itself."""


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory in the process inside the ``with``, and give it back to the system afterwards.

    Has no effect where the C library is not glibc.
    """
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _KEEP)
    libc.mallopt(_TRIM_THRESHOLD, _KEEP)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _USUAL)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _USUAL)
        libc.malloc_trim(0)
