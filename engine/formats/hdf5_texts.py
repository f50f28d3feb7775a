"""How long are the texts of a HDF5 file? HDF5 gives each the memory that its file claims, before it looks for it.

A text of variable length lies in the file as its length (4 bytes), the address of a heap (8) and a number in it (4).
The lengths are added up before any text is read.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import h5py
import numpy as np

from engine.errors import RecordingError

MAX_TEXT_BYTES: Final = 64 * 2**20
_ELEMENT: Final = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
_CHECKSUM_BYTES: Final = 4


def has_texts(dataset: h5py.Dataset) -> bool:
    """Return whether the elements of a dataset have variable lengths."""
    return h5py.check_vlen_dtype(dataset.dtype) is not None or dataset.dtype.kind == "O"


def require_short_texts(dataset: h5py.Dataset, path: Path, where: str) -> None:
    """Pass if the texts of a dataset are no longer than its file, and not too long to read.

    Raises
    ------
    RecordingError
        If they are, or lie in the file in a way that nobody can check.
    """
    total, most = 0, min(path.stat().st_size, MAX_TEXT_BYTES)
    for raw in _pieces(dataset, path, where):
        elements = np.frombuffer(raw[: len(raw) // _ELEMENT.itemsize * _ELEMENT.itemsize], _ELEMENT)
        longest = int(elements["length"].max(initial=0))
        total += int(elements["length"].sum(dtype=np.int64))
        if longest > most or total > MAX_TEXT_BYTES:
            raise RecordingError(
                f"{where} claims a text of {longest:,} bytes, {total:,} in all; the file has {path.stat().st_size:,}. "
                "Nothing of it was read. It is damaged or made to fill the memory: copy it again."
            )


def _pieces(dataset: h5py.Dataset, path: Path, where: str) -> Iterator[bytes]:
    """Yield the elements as they lie in the file, unpacked."""
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.CONTIGUOUS:
        offset = dataset.id.get_offset()
        if offset is not None:
            with open(path, "rb") as file:
                file.seek(offset)
                yield file.read(dataset.id.get_storage_size())
    elif plan.get_layout() == h5py.h5d.CHUNKED:
        n_bytes = int(np.prod(dataset.chunks)) * _ELEMENT.itemsize
        filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
        for index in range(dataset.id.get_num_chunks()):
            _, packed = dataset.id.read_direct_chunk(dataset.id.get_chunk_info(index).chunk_offset)
            yield _unpacked(packed, filters, n_bytes)
    else:
        raise RecordingError(
            f"{where} keeps its texts in a way that is not read. Save it again with xarray or netCDF4."
        )


def _unpacked(packed: bytes, filters: list[int], n_bytes: int) -> bytes:
    content = packed
    for name in reversed(filters):
        if name == h5py.h5z.FILTER_DEFLATE:
            content = zlib.decompressobj().decompress(content, n_bytes + _CHECKSUM_BYTES)
        elif name == h5py.h5z.FILTER_FLETCHER32:
            content = content[:-_CHECKSUM_BYTES]
        elif name == h5py.h5z.FILTER_SHUFFLE:
            content = np.frombuffer(content, np.uint8).reshape(_ELEMENT.itemsize, -1).T.tobytes()
    return content
