"""What one file of responses tells: exactly that, before images are found and everything is checked."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import xarray as xr

from engine.errors import RecordingError

MAX_BYTES: Final = 4 * 2**30
"""Larger responses are refused before they are read: they would be copied a few times."""

MAX_EXPANSION: Final = 200
"""An array that claims more than so many times what its file holds is refused, unless it is small."""

SMALL_BYTES: Final = 32 * 2**20

_NEVER_WRITTEN: Final = np.float32(9.969209968386869e36)


@dataclass(frozen=True, eq=False)
class Contents:
    """Responses and labels as a file has them.

    Attributes
    ----------
    where
        The file, for messages.
    responses
        (stimulus, site) or (stimulus, site, repeat); NaN = missing.
    stimulus_ids
        Their ids, None if the file has only positions.
    site_ids, region, site_coords, stimulus_coords, rf_map
        As for ``Recording.from_arrays``.
    images
        uint8 (stimulus, height, width[, 3]) in the order of the ids, where the file holds them.
    attrs
        What it says of itself: ``name``, ``size_deg``, ``window_ms``, ``source``, ...
    stimulus_set
        What its publisher calls the images, "" if it does not say.
    """

    where: str
    responses: np.ndarray
    stimulus_ids: Sequence[Any] | None
    site_ids: Sequence[Any] | None = None
    region: str | Sequence[str] | None = None
    site_coords: Mapping[str, Any] = field(default_factory=dict)
    stimulus_coords: Mapping[str, Any] = field(default_factory=dict)
    rf_map: xr.DataArray | None = None
    images: np.ndarray | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    stimulus_set: str = ""


def require_plausible_size(n_bytes: int, stored_bytes: int, where: str) -> None:
    """Pass if an array of ``n_bytes`` can be read from ``stored_bytes`` of a file without filling the memory.

    Raises
    ------
    RecordingError
        If it is larger than ``MAX_BYTES``, or expands as no measured responses do. Nothing was read.
    """
    if n_bytes > MAX_BYTES:
        raise RecordingError(
            f"{where} claims {n_bytes:,} bytes, more than the {MAX_BYTES:,} that are read. "
            "Keep fewer sites, stimuli or time bins in one file, or average the repeats."
        )
    if n_bytes > SMALL_BYTES and n_bytes > MAX_EXPANSION * max(stored_bytes, 1):
        raise RecordingError(
            f"{where} claims {n_bytes:,} bytes and holds {stored_bytes:,}: more than {MAX_EXPANSION} times as much, "
            "as no measured data does. If it is yours, save it without compression."
        )


def require_written(array: Any, n_stored: int, n_pieces: int, fill: Any, where: str) -> None:
    """Pass if every piece of an array is in its file, or reads as missing where it is not.

    A piece that was lost, or that its writer did not come to, reads as the fill value: 0 as a rule. Single columns of
    numbers pass, since zarr leaves out a piece of nothing but zeros.

    Raises
    ------
    RecordingError
        If pieces of a table of numbers or of text are not there.
    """
    is_missing = array.dtype.kind == "f" and fill is not None and np.isnan(fill)
    if n_stored >= n_pieces or is_missing or (len(array.shape) < 2 and array.dtype.kind in "biufc"):
        return
    raise RecordingError(
        f"{where}: {n_pieces - n_stored} of its {n_pieces} pieces are not in the file, and would read as {fill!r}. Its "
        "writer was stopped, or they were lost: copy or write it again. If they hold nothing but that value, write "
        "numbers as float64, or zarr with write_empty_chunks=True."
    )


def require_no_fill(values: np.ndarray, where: str) -> None:
    """Pass if no value is what the netCDF library puts where nobody wrote a number.

    Raises
    ------
    RecordingError
        If some are.
    """
    n_values = int((values == _NEVER_WRITTEN).sum()) if values.dtype.kind == "f" else 0
    if n_values:
        raise RecordingError(
            f"{where}: {n_values} values are netCDF's mark for never written (9.97e36). The file is incomplete: copy "
            "or package it again."
        )


def as_text(values: Any, what: str, where: str) -> list[str]:
    """Return labels of a file as text: text as it is, whole numbers in digits; nothing else can be an id."""
    array = np.asarray(values)
    require_unicode(array, where)
    if array.dtype.kind in "iu":
        return [str(number) for number in array.tolist()]
    listed = [
        value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in array.tolist()
    ]
    wrong = [value for value in listed if not isinstance(value, str)] if array.ndim == 1 else []
    if wrong or array.ndim != 1:
        found = repr(wrong[0]) if wrong else f"an array of shape {array.shape}"
        raise RecordingError(f"{where}: {what} must be one text for each, got {found}. Write the ids as text.")
    return listed


def require_unicode(values: np.ndarray, where: str) -> None:
    """Pass if fixed-width text holds characters only: numpy takes any 32 bits from a file for one.

    Raises
    ------
    RecordingError
        If it holds a number beyond the last character of Unicode.
    """
    if values.dtype.kind == "U" and values.size and values.dtype.itemsize:
        native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        if int(native.view(np.uint32).max()) > sys.maxunicode:
            raise RecordingError(
                f"{where}: a text holds characters that do not exist. The file is damaged: copy it again."
            )
