"""Responses in ``.npz`` (numpy.savez) with ids, or in ``.npy`` without.

Keys of an npz: ``responses`` (stimulus, site[, repeat]); ``stimulus_ids`` (stimulus,) text; and, where known,
``site_ids`` (site,), ``region`` (one, or one for each site), ``images`` uint8 (stimulus, height, width[, 3]),
``site_NAME`` (site,) and ``stimulus_NAME`` (stimulus,) for whatever else is known of each, and ``name``, ``size_deg``,
``window_ms``, ``source``, ``licence``, ``response_unit`` of the whole.
"""

import zipfile
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy

from engine.errors import RecordingError
from engine.formats.contents import Contents, as_text, require_plausible_size, require_unicode

_ALIASES: Final = {"response": "responses", "stimulus_id": "stimulus_ids", "site_id": "site_ids"}
_OF_THE_WHOLE: Final = ("name", "size_deg", "window_ms", "source", "licence", "response_unit", "simulated")
_MAX_MEMBERS: Final = 1000
_MAX_DIRECTORY: Final = 2**20
KEYS: Final = "responses, stimulus_ids, site_ids, region, images, site_NAME, stimulus_NAME, " + ", ".join(_OF_THE_WHOLE)


def read_npz(path: Path, window_ms: str | None = None) -> Contents:
    """Return what an npz holds.

    Raises
    ------
    RecordingError
        If it is damaged, holds objects, claims more than it holds, or has a key that nobody knows.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {key: _array(archive, member, path) for key, member in _members(archive, path).items()}
    except RecordingError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise whatever a damaged file makes them stumble over
        raise RecordingError(
            f"{path} cannot be read ({type(error).__name__}: {error}). It is damaged, or was not written by "
            "numpy.savez; copy it again, or write it again."
        ) from error
    return _contents(arrays, str(path))


def read_npy(path: Path, window_ms: str | None = None) -> Contents:
    """Return the numbers of an npy, which has no ids.

    Raises
    ------
    RecordingError
        If it is damaged, holds objects, or claims more than it holds.
    """
    try:
        with open(path, "rb") as file:
            shape, _, dtype = _header(file)
            _require_plain(dtype, str(path))
            n_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
            require_plausible_size(n_bytes, path.stat().st_size, str(path))
            if n_bytes != path.stat().st_size - file.tell():
                raise ValueError(f"its header claims {n_bytes:,} bytes, {path.stat().st_size - file.tell():,} follow")
        return Contents(str(path), np.load(path, allow_pickle=False), None)
    except RecordingError:
        raise
    except Exception as error:  # numpy raises whatever a damaged header makes it stumble over
        raise RecordingError(
            f"{path} cannot be read ({type(error).__name__}: {error}). It is damaged, or was not written by "
            "numpy.save; copy it again, or write it again."
        ) from error


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    entries = archive.infolist()
    if len(entries) > _MAX_MEMBERS:
        raise RecordingError(f"{path} has {len(entries):,} arrays; a recording has a few: {KEYS}.")
    names = [_ALIASES.get(key, key) for key in (entry.filename.removesuffix(".npy") for entry in entries)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecordingError(f"{path} holds {twice[0]!r} twice. Write it again with one of them.")
    return dict(zip(names, entries, strict=True))


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> np.ndarray:
    """Return one array; header and size are looked at before its numbers are unpacked."""
    where = f"{path}: {member.filename}"
    require_plausible_size(member.file_size, member.compress_size, where)
    with archive.open(member) as file:
        shape, is_fortran, dtype = _header(file)
        _require_plain(dtype, where)
        n_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        require_plausible_size(n_bytes, member.compress_size, where)
        content = file.read(n_bytes + 1)  # to the end, so that the zip's checksum is compared
    if len(content) != n_bytes:
        raise RecordingError(f"{where} claims {n_bytes:,} bytes and holds {len(content):,}. Write it again.")
    values = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    require_unicode(values, where)
    return values


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the npy format is not read")
    return read(file)


def _require_plain(dtype: np.dtype, where: str) -> None:
    if dtype.hasobject or dtype.kind not in "biufUS":
        why = ", which is never unpacked: it could run code" if dtype.hasobject else ""
        raise RecordingError(
            f"{where} holds {dtype}{why}. Save real numbers, and ids as text: numpy.array(ids, dtype=str)."
        )


def _contents(arrays: dict[str, np.ndarray], where: str) -> Contents:
    if "responses" not in arrays:
        raise RecordingError(f"{where} has no key 'responses'; it has {', '.join(arrays) or 'none'}. Keys: {KEYS}.")
    numbers = arrays["responses"]
    if numbers.ndim not in (2, 3):
        raise RecordingError(
            f"{where}: responses must be (stimulus, site) or (stimulus, site, repeat), got {numbers.shape}."
        )
    of_each: dict[str, dict[str, Any]] = {"site_": {}, "stimulus_": {}}
    attrs: dict[str, Any] = {}
    for key, value in arrays.items():
        prefix = next((prefix for prefix in of_each if key.startswith(prefix)), None)
        if key in ("responses", "stimulus_ids", "site_ids", "region", "images"):
            continue
        if key in _OF_THE_WHOLE and value.ndim == 0:
            attrs[key] = value.item()
        elif prefix is not None:
            of_each[prefix][key.removeprefix(prefix)] = value
        else:
            raise RecordingError(f"{where}: nobody knows the key {key!r} of shape {value.shape}. Keys: {KEYS}.")
    return Contents(
        where,
        numbers,
        _text(arrays.get("stimulus_ids"), "stimulus_ids", where),
        _text(arrays.get("site_ids"), "site_ids", where),
        region=_region(arrays.get("region"), where),
        site_coords=of_each["site_"],
        stimulus_coords=of_each["stimulus_"],
        images=arrays.get("images"),
        attrs=attrs,
    )


def _text(values: np.ndarray | None, what: str, where: str) -> list[str] | None:
    """Return ids, which must be text here: numpy would have made 1 of "001"."""
    if values is None:
        return None
    if values.dtype.kind not in "US":
        raise RecordingError(
            f"{where}: {what} must be text, got {values.dtype}: id 0 is {values.ravel()[:1].tolist()}. "
            "Keep ids as text from the start, with their leading zeros: numpy.array(ids, dtype=str)."
        )
    return as_text(values, what, where)


def _region(values: np.ndarray | None, where: str) -> str | list[str] | None:
    if values is None:
        return None
    listed = as_text(np.atleast_1d(values), "region", where)
    return listed[0] if values.ndim == 0 else listed
