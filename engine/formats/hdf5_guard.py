"""Does a HDF5 file hold its data itself? One that points into other files could show any file of this machine.

External raw data, external links and virtual datasets make HDF5 open whatever path the file's author wrote. Such a
file is refused as a whole before anything is read, and so is one that claims more than it holds.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import h5py
import numpy as np

from engine.errors import RecordingError
from engine.formats.contents import SMALL_BYTES, require_plausible_size, require_written
from engine.formats.hdf5_attributes import require_short_attributes
from engine.formats.hdf5_heaps import require_sound_heaps
from engine.formats.hdf5_texts import has_texts, require_short_texts

_MAX_OBJECTS: Final = 10_000
_MAX_DEPTH: Final = 16
_MOST_EXPANSION: Final = 1032
"""Of zlib."""

_CHECKSUM_BYTES: Final = 4
_FILTERS: Final = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


def require_self_contained(path: Path) -> None:
    """Pass if no part of the HDF5 file ``path`` lies in another file, and its arrays can be what they claim.

    Raises
    ------
    RecordingError
        Naming the first part that does not.
    OSError
        If it is no HDF5 file.
    """
    require_sound_heaps(path)
    with h5py.File(path, "r") as file:
        require_short_attributes(file, path, str(path))
        for n_objects, (name, found) in enumerate(_objects(file, str(path))):
            if n_objects > _MAX_OBJECTS:
                raise RecordingError(f"{path} has more than {_MAX_OBJECTS:,} parts; a recording has a few.")
            if isinstance(found, h5py.HLObject):
                require_short_attributes(found, path, f"{path}: {name}")
            if isinstance(found, h5py.Dataset):
                _require_own_data(found, f"{path}: {name}")
                if has_texts(found):
                    require_short_texts(found, path, f"{path}: {name}")


def _objects(group: h5py.Group, where: str, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    if depth > _MAX_DEPTH:
        raise RecordingError(f"{where} nests more than {_MAX_DEPTH} groups; a recording needs one.")
    for key in group:
        name = f"{prefix}{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise RecordingError(
                f"{where}: {name!r} is a link, which may show another file of this machine. Nothing was read. "
                "Make a file that holds the data itself, e.g. with h5repack or by saving it again."
            )
        found = group[key]
        yield name, found
        if isinstance(found, h5py.Group):
            yield from _objects(found, where, f"{name}/", depth + 1)


def _require_own_data(dataset: h5py.Dataset, where: str) -> None:
    plan = dataset.id.get_create_plist()
    if plan.get_external_count() or dataset.is_virtual:
        raise RecordingError(
            f"{where} takes its numbers from another file of this machine. Nothing was read. "
            "Make a file that holds the data itself, e.g. with h5repack or by saving it again."
        )
    filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
    if set(filters) - _FILTERS or len(filters) != len(set(filters)):
        raise RecordingError(
            f"{where} is compressed in a way that is not read (HDF5 filters {filters}). "
            "Save it with zlib, or without compression."
        )
    require_plausible_size(dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size(), where)
    if dataset.chunks:
        n_chunks = int(np.prod([-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]))
        require_written(dataset, dataset.id.get_num_chunks(), n_chunks, dataset.fillvalue, where)
    else:
        require_written(dataset, min(dataset.id.get_storage_size(), 1), min(dataset.size, 1), dataset.fillvalue, where)
    if h5py.h5z.FILTER_DEFLATE in filters:
        _require_chunks(dataset, where)


def _require_chunks(dataset: h5py.Dataset, where: str) -> None:
    """Refuse a chunk that zlib would unpack to more than a chunk has: HDF5 itself would give it all that memory."""
    n_bytes = int(np.prod(dataset.chunks)) * dataset.dtype.itemsize
    require_plausible_size(n_bytes, max(dataset.id.get_storage_size(), 1), f"{where}, one chunk of it,")
    for index in range(dataset.id.get_num_chunks()):
        info = dataset.id.get_chunk_info(index)
        if info.size * _MOST_EXPANSION <= SMALL_BYTES:
            continue
        _, packed = dataset.id.read_direct_chunk(info.chunk_offset)
        if len(zlib.decompressobj().decompress(packed, n_bytes + _CHECKSUM_BYTES + 1)) > n_bytes + _CHECKSUM_BYTES:
            raise RecordingError(
                f"{where}: a chunk unpacks to more than the {n_bytes:,} bytes that it has. Nothing of it was read. "
                "It is damaged or made to fill the memory: get it again from whoever wrote it."
            )
