"""Are the heaps of a HDF5 file lists that end? A damaged one makes the HDF5 library search for ever.

A heap holds texts and lists of variable length, one after the other, each with its size (HDF5 File Format
Specification 3.0, III.E). Every heap is walked through once, by its signature, before the library sees the file.
"""

import mmap
import struct
from pathlib import Path
from typing import Final

from engine.errors import RecordingError

_SIGNATURE: Final = b"GCOL\1\0\0\0"
_HEADER_BYTES: Final = 16


def require_sound_heaps(path: Path) -> None:
    """Pass if every heap of the file is filled by objects that lie within it.

    Raises
    ------
    RecordingError
        Naming the place of the first that is not.
    """
    if path.stat().st_size == 0:
        raise RecordingError(f"{path} is empty. Copy it again.")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        begin = content.find(_SIGNATURE)
        while begin >= 0:
            if not _is_sound(content, begin):
                raise RecordingError(
                    f"{path} has a damaged list of texts at byte {begin:,}. Nothing of it was read. Copy it again."
                )
            begin = content.find(_SIGNATURE, begin + 1)


def _is_sound(content: mmap.mmap, begin: int) -> bool:
    if begin + _HEADER_BYTES > len(content):
        return False
    end = begin + struct.unpack_from("<Q", content, begin + 8)[0]
    if not begin + _HEADER_BYTES <= end <= len(content):
        return False
    at, seen = begin + _HEADER_BYTES, set()
    while at + _HEADER_BYTES <= end:
        index, _, _, n_bytes = struct.unpack_from("<HHIQ", content, at)
        if index in seen or (index == 0 and n_bytes < _HEADER_BYTES):
            return False
        seen.add(index)
        at += n_bytes if index == 0 else _HEADER_BYTES + -(-n_bytes // 8) * 8  # free space counts its own header
        if at > end:
            return False
    return True
