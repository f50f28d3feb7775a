"""How a pass keeps the memory that it frees for its next batch, and a match for the next match.

Large tensors that are freed go back to the system and are faulted in again page by page, which alone can double the
time of a forward pass. On glibc the allocator can be told to keep them.
"""

import ctypes
import mmap
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEEP = 2**30
_USUAL = 32 * 2**20
"""glibc's own upper limit of the threshold that it adapts by itself."""

_WORTH_LARGE_PAGES = 2**22


class _Kept:
    """What lives until the outermost ``freed_memory_kept`` ends."""

    depth = 0
    pages: mmap.mmap | None = None
    to_come = 1


@contextmanager
def freed_memory_kept(matches: int = 1) -> Iterator[None]:
    """Keep freed memory in the process inside the ``with``, and give it back to the system afterwards.

    Around several matches it also keeps the pages that held activations, so that only the first match faults them in:
    the more ``matches`` follow each other, the more memory is worth its price. malloc is left alone where the C library
    is not glibc.
    """
    if _Kept.depth == 0:
        _Kept.to_come = matches
    _Kept.depth += 1
    _tune_malloc(_KEEP, _KEEP)
    try:
        yield
    finally:
        _Kept.depth -= 1
        if _Kept.depth == 0:
            _Kept.pages, _Kept.to_come = None, 1
            _tune_malloc(_USUAL, 2 * _USUAL)


def pages(n_bytes: int) -> mmap.mmap:
    """Anonymous memory of at least ``n_bytes``; it may hold what an earlier match wrote."""
    has_enough = has_pages(n_bytes)
    kept, _Kept.pages = _Kept.pages, None
    return kept if kept is not None and has_enough else fresh_pages(n_bytes)


def has_pages(n_bytes: int) -> bool:
    """Tell whether ``pages`` has so many bytes that an earlier match wrote."""
    return _Kept.pages is not None and len(_Kept.pages) >= n_bytes


def matches_to_come() -> int:
    """How many matches will use the pages that are taken now, this one included."""
    return _Kept.to_come


def zeros(n: int, dtype: type[np.floating]) -> np.ndarray:
    """(n,) zeros."""
    memory = fresh_pages(n * np.dtype(dtype).itemsize)
    return np.frombuffer(memory, dtype, n)


def fresh_pages(n_bytes: int) -> mmap.mmap:
    """Anonymous memory, in pages of 2 MiB where there are such: faults for each of 4 KiB cost more than writing."""
    memory = mmap.mmap(-1, max(n_bytes, mmap.PAGESIZE))
    if n_bytes >= _WORTH_LARGE_PAGES and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def give_back(memory: mmap.mmap) -> None:
    """Keep pages for the next match, if there is one inside the same ``freed_memory_kept``."""
    _Kept.to_come = max(1, _Kept.to_come - 1)
    if _Kept.depth > 1:
        _Kept.pages = memory


def give_back_freed() -> None:
    """Give the memory back that was freed and is in the way of what comes, because its pieces have other sizes."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def _tune_malloc(mmap_threshold: int, trim_threshold: int) -> None:
    libc = _glibc()
    if libc is None:
        return
    libc.mallopt(_MMAP_THRESHOLD, mmap_threshold)
    libc.mallopt(_TRIM_THRESHOLD, trim_threshold)
    if trim_threshold != _KEEP:
        libc.malloc_trim(0)
