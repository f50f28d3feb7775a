"""How long are the attributes of a HDF5 file? As with its texts, HDF5 gives each the memory that its file claims.

An attribute of variable length is found in the bytes of the file by its name, which stands before its data (HDF5 File
Format Specification 3.0, IV.A.2.m); the lengths there are looked at before any attribute is read.
"""

import math
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import h5py
import numpy as np

from engine.errors import RecordingError

MAX_BYTES: Final = 2**20
MAX_LIST: Final = 1000
_ELEMENT_BYTES: Final = 16
_SPACE_BYTES: Final = {1: 8, 2: 4}
"""What stands before the dims in a dataspace message, by its version."""

_MAX_ATTRIBUTES: Final = 1000
_HEADER_BYTES: Final = {1: 8, 2: 8, 3: 9}
"""What stands before the name, by version of the message."""


def require_short_attributes(found: h5py.HLObject, path: Path, where: str) -> None:
    """Pass if no attribute of a part of the file ``path`` claims more than an attribute needs.

    Raises
    ------
    RecordingError
        Naming the first that does, or that lies in the file in a way that nobody can check.
    """
    n_attributes = h5py.h5a.get_num_attrs(found.id)
    if n_attributes > _MAX_ATTRIBUTES:
        raise RecordingError(
            f"{where} has {n_attributes:,} attributes; a recording has a few. Leave out what is not one."
        )
    for index in range(n_attributes):
        attribute = h5py.h5a.open(found.id, index=index)
        kind = attribute.get_type()
        if _has_lengths(kind) and attribute.get_space().get_simple_extent_npoints():
            _require_short(attribute, path, where)
        elif kind.get_size() * attribute.get_space().get_simple_extent_npoints() > MAX_BYTES:
            raise RecordingError(f"{where}: attribute {attribute.name!r} claims more than {MAX_BYTES:,} bytes.")


def _has_lengths(kind: h5py.h5t.TypeID) -> bool:
    if isinstance(kind, h5py.h5t.TypeStringID):
        return bool(kind.is_variable_str())
    return kind.get_class() == h5py.h5t.VLEN or bool(kind.detect_class(h5py.h5t.VLEN))


def _require_short(attribute: h5py.h5a.AttrID, path: Path, where: str) -> None:
    n_elements = attribute.get_space().get_simple_extent_npoints()
    most = MAX_BYTES if isinstance(attribute.get_type(), h5py.h5t.TypeStringID) else MAX_LIST
    is_found, longest = False, 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for n_there, place in _places(content, attribute.name):
            if n_there == n_elements and n_there <= MAX_BYTES and place + n_there * _ELEMENT_BYTES <= len(content):
                is_found = True
                elements = np.frombuffer(content[place : place + n_there * _ELEMENT_BYTES], "<u4")
                longest = max(longest, int(elements[:: _ELEMENT_BYTES // 4].max(initial=0)))
    if longest > most or not is_found:
        raise RecordingError(
            f"{where}: attribute {attribute.name.decode('utf-8', 'replace')!r} claims {longest:,} elements, or lies "
            "where it cannot be checked. Nothing of it was read. It is damaged or made to fill the memory: copy it "
            "again."
        )


def _places(content: mmap.mmap, name: bytes) -> Iterator[tuple[int, int]]:
    """Yield how many elements attributes of a name have, and where: wherever the sizes before the name fit it."""
    at = content.find(name + b"\0")
    while at >= 0:
        for version, n_before in _HEADER_BYTES.items():
            head = at - n_before
            if head >= 0 and content[head] == version:
                sizes = struct.unpack("<HHH", content[head + 2 : head + 8])
                if sizes[0] == len(name) + 1:
                    named, kind, space = (-(-size // 8) * 8 if version == 1 else size for size in sizes)
                    begin = at + named + kind
                    yield _n_elements(content[begin : begin + sizes[2]]), begin + space
        at = content.find(name + b"\0", at + 1)


def _n_elements(space: bytes) -> int:
    """Return how many elements a dataspace message has: 1 without dims."""
    if len(space) < _SPACE_BYTES.get(space[0] if space else 0, 1 << 16):
        return -1
    begin, rank = _SPACE_BYTES[space[0]], space[1]
    dims = space[begin : begin + 8 * rank]
    return math.prod(struct.unpack(f"<{rank}Q", dims)) if len(dims) == 8 * rank else -1
