"""Responses in a zarr folder (versions 2 and 3): ``Recording.data`` or an assembly as xarray writes them.

Only files that lie in the folder itself are read: a list of them is made first, without following links, and zarr sees
nothing else, whatever its metadata name. A chunk that claims to unpack to more than a chunk has is refused unread.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
import zarr

from engine.encoding import decode
from engine.errors import RecordingError, StoreError
from engine.formats.contents import SMALL_BYTES, Contents, require_plausible_size, require_written
from engine.formats.given import sha256_of
from engine.formats.netcdf import read_dataset
from engine.manifests import SealedStore

MAX_FILES: Final = 20_000
_MAX_DEPTH: Final = 8
_METADATA: Final = ("zarr.json", ".zgroup", ".zmetadata")
_CODECS: Final = frozenset({"bytes", "endian", "transpose", "zstd", "gzip", "blosc", "crc32c", "vlen-utf8", "zlib"})
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


def is_zarr(path: Path) -> bool:
    """Return whether ``path`` is a folder with the metadata of a zarr group."""
    return path.is_dir() and any((path / name).is_file() for name in _METADATA)


def read_zarr(path: Path, window_ms: str | None = None) -> Contents:
    """Return what a zarr folder holds.

    Raises
    ------
    RecordingError
        If it is damaged, has links, too many files or folders in folders, claims more than it holds, is packed with
        other codecs than bytes, transpose, zstd, gzip, zlib, blosc, crc32c and vlen-utf8, or holds no responses.
    """
    try:
        files = {key: path / key for key in _files(path)}
        sizes = {key: file.stat().st_size for key, file in files.items()}
        _require_known_codecs(path, files)
        advice = "Copy the folder again while nobody writes it."
        store = SealedStore(path, {key: (sizes[key], sha256_of(file)) for key, file in files.items()}, advice)
        for name, array in zarr.open_group(store, mode="r", use_consolidated=False).arrays():
            _require_chunks(array, sizes, files, name, path)
        return _read(decode(store), path, window_ms)
    except RecordingError:
        raise
    except StoreError as error:
        raise RecordingError(f"{error}") from error
    except Exception as error:  # zarr, its codecs and xarray raise whatever a damaged file makes them stumble over
        raise RecordingError(
            f"{path} cannot be read ({type(error).__name__}: {error}). It is damaged, or no zarr group as xarray "
            "writes it; copy it again, or write it again: dataset.to_zarr(folder)."
        ) from error


def _read(dataset: xr.Dataset, path: Path, window_ms: str | None) -> Contents:
    attrs = {key: value for key, value in dataset.attrs.items() if key != "variable_order"}
    decoded = xr.decode_cf(dataset.assign_attrs(attrs), decode_times=False, decode_timedelta=False)
    return read_dataset(decoded, path, window_ms)


def _files(folder: Path) -> Iterator[str]:
    """Yield the files of a folder, relative to it."""
    n_files, waiting = 0, [("", 0)]
    while waiting:
        below, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise RecordingError(f"{folder} nests more than {_MAX_DEPTH} folders; a recording needs a few.")
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                n_files += 1
                if n_files > MAX_FILES:
                    raise RecordingError(
                        f"{folder} has more than {MAX_FILES:,} files. Write it again with larger chunks."
                    )
                if entry.is_symlink():
                    raise RecordingError(
                        f"{folder}: {name!r} is a link, which may show another file of this machine. Nothing was "
                        "read. Copy what it points to into the folder."
                    )
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{name}/", depth + 1))
                else:
                    yield name


def _require_known_codecs(folder: Path, files: dict[str, Path]) -> None:
    """Refuse other codecs before zarr looks for them, among them those that would unpickle."""
    for key, file in files.items():
        if Path(key).name in ("zarr.json", ".zarray"):
            require_plausible_size(file.stat().st_size, file.stat().st_size, str(file))
            unknown = set(_codecs(json.loads(file.read_bytes()))) - _CODECS
            if unknown:
                raise RecordingError(
                    f"{folder / key} is packed with {', '.join(sorted(unknown))}, which is not read "
                    f"({', '.join(sorted(_CODECS))} are). Write it again with xarray's defaults."
                )


def _codecs(metadata: Any) -> Iterator[str]:
    if not isinstance(metadata, dict):
        return
    listed = metadata.get("codecs") or []
    filters = metadata.get("filters") or []
    for codec in [*listed, *filters, metadata.get("compressor")]:
        if isinstance(codec, dict):
            yield str(codec.get("name", codec.get("id", "?")))
        elif codec is not None:
            yield str(codec)


def _require_chunks(array: Any, sizes: dict[str, int], files: dict[str, Path], name: str, folder: Path) -> None:
    """Refuse an array that claims more than its chunks can hold, and a chunk that unpacks to more than one has."""
    mine = {key: size for key, size in sizes.items() if key.startswith(f"{name}/") and not _is_metadata(key)}
    itemsize = getattr(array.dtype, "itemsize", 16)
    where = f"{folder}: {name}"
    require_plausible_size(int(np.prod(array.shape, dtype=object)) * itemsize, sum(mine.values()), where)
    require_written(array, len(mine), array.nchunks, array.fill_value, where)
    chunk_bytes = int(np.prod(array.chunks, dtype=object)) * itemsize
    require_plausible_size(chunk_bytes, max(sum(mine.values()), 1), f"{where}, one chunk of it,")
    limit = SMALL_BYTES if array.dtype.kind in "OT" else chunk_bytes + 16
    for key in mine:
        claimed = _unpacked_bytes(files[key])
        if claimed is not None and claimed > limit:
            raise RecordingError(
                f"{folder / key} unpacks to {claimed:,} bytes, where a chunk has {chunk_bytes:,}. Nothing of it was "
                "read. It is damaged or made to fill the memory: get it again from whoever wrote it."
            )


def _is_metadata(key: str) -> bool:
    return Path(key).name in ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


def _unpacked_bytes(file: Path) -> int | None:
    """Return what the header of a packed chunk says of its size: zstd, gzip, blosc; None if it says nothing."""
    with open(file, "rb") as opened:
        head = opened.read(18)
        if head[:4] == _ZSTD_MAGIC:
            return _zstd_content_bytes(head)
        if head[:2] == b"\x1f\x8b":
            opened.seek(max(0, file.stat().st_size - 4))
            return int.from_bytes(opened.read(4), "little")
    is_blosc = len(head) >= 16 and head[0] == 2 and int.from_bytes(head[12:16], "little") == file.stat().st_size
    return int.from_bytes(head[4:8], "little") if is_blosc else None


def _zstd_content_bytes(head: bytes) -> int:
    """Return the size that the header of a zstd frame declares (RFC 8878, 3.1.1); one without is no chunk of ours."""
    descriptor = head[4]
    flag, is_single_segment = descriptor >> 6, bool(descriptor & 32)
    width = (1 if is_single_segment else 0, 2, 4, 8)[flag]
    if width == 0:
        raise RecordingError("a zstd chunk does not say how large it is. Write it again with xarray's defaults.")
    start = 5 + (0 if is_single_segment else 1) + (0, 1, 2, 4)[descriptor & 3]
    return int.from_bytes(head[start : start + width], "little") + (256 if flag == 1 else 0)
