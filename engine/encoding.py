"""How a dataset becomes bytes that last, and the same dataset again.

Zarr v3 through xarray, every chunk with a checksum, every chunk written even where it is empty (else a lost chunk
reads as zeros). Text, whose zarr type is not stable yet, becomes integer codes with a table of labels. Everything
passes through memory as ``{key: bytes}``, so that the caller decides where the bytes go and how they are checked.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from engine.errors import StoreError

CHUNK_BYTES: Final = 4 * 2**20
"""A chunk spans all dims but the first, and as many rows of that as fit."""

_LABELS: Final = "text_labels"
_TEXT_TYPE: Final = "text_dtype"
_FLOATS: Final = ("f2", "f4", "f8", "c8", "c16")
_ORDER: Final = "variable_order"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ZSTD: Final = ZstdCodec(level=1, checksum=True)


def encode(dataset: xr.Dataset) -> dict[str, bytes]:
    """Return the files of a zarr v3 group that holds ``dataset``.

    Parameters
    ----------
    dataset
        Variables and coordinates of bool, integer, float, complex or text (``U``, ``T`` or object arrays of ``str``);
        attributes that JSON can hold.

    Returns
    -------
    dict
        Bytes by key, e.g. ``correlation/c/0/0``; the same dataset gives the same bytes.

    Raises
    ------
    StoreError
        If a variable has a dtype that would not come back the same, or an attribute is not JSON.
    """
    coded = _with_text_as_codes(dataset.drop_encoding())
    encoding = {str(name): _encoding(variable) for name, variable in coded.variables.items()}
    files: dict[str, Any] = {}
    coded.to_zarr(
        MemoryStore(files), mode="w-", zarr_format=3, consolidated=False, encoding=encoding, write_empty_chunks=True
    )
    return {key: files[key].to_bytes() for key in sorted(files)}


def decode(store: Store) -> xr.Dataset:
    """Return the dataset of a zarr group; numbers are read when they are asked for, text and indexes at once."""
    coded = xr.open_zarr(
        store,
        consolidated=False,
        chunks=None,
        mask_and_scale=False,
        decode_times=False,
        decode_timedelta=False,
    )
    return _with_codes_as_text(coded)


def decode_bytes(files: Mapping[str, bytes]) -> xr.Dataset:
    """Return the dataset that ``encode`` turned into ``files``, in memory."""
    prototype = default_buffer_prototype()
    buffers = {key: prototype.buffer.from_bytes(content) for key, content in files.items()}
    return decode(MemoryStore(buffers, read_only=True)).load()


def as_json(value: Any, where: str) -> Any:
    """Return ``value`` in plain JSON types: NumPy scalars as numbers, tuples and arrays as lists.

    Raises
    ------
    StoreError
        Naming the place of whatever JSON cannot hold.
    """
    if isinstance(value, Mapping):
        return {str(key): as_json(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item, f"{where}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, np.ndarray):
        return as_json(value.tolist(), where)
    if isinstance(value, np.generic):
        return as_json(value.item(), where)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise StoreError(
        f"{where} is of type {type(value).__name__}; the store keeps text, numbers, lists and mappings of them."
    )


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of ``value``: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    encoding: dict[str, Any] = {"compressors": [_ZSTD], "_FillValue": None}
    if variable.ndim:
        row_bytes = max(1, variable.dtype.itemsize * int(np.prod(variable.shape[1:])))
        rows = min(variable.shape[0], max(1, CHUNK_BYTES // row_bytes))
        encoding["chunks"] = tuple(max(1, n) for n in (rows, *variable.shape[1:]))
    return encoding


def _with_text_as_codes(dataset: xr.Dataset) -> xr.Dataset:
    replaced: dict[Any, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise StoreError(f"Variable {name!r}: the store takes names of letters, digits, '_', '.' and '-'.")
        if variable.dtype.kind in "OUT":
            replaced[name] = _codes(str(name), variable)
        elif variable.dtype.kind not in "biu" and variable.dtype.str[1:] not in _FLOATS:
            raise StoreError(
                f"Variable {name!r} has dtype {variable.dtype}; the store keeps numbers, booleans and text."
            )
        elif variable.attrs:
            replaced[name] = variable.copy(deep=False)
            replaced[name].attrs = as_json(variable.attrs, f"attributes of {name!r}")
    attrs = {**as_json(dataset.attrs, "attributes"), _ORDER: [str(name) for name in dataset.variables]}
    return _replace_variables(dataset, replaced, dataset.variables, attrs)


def _with_codes_as_text(dataset: xr.Dataset) -> xr.Dataset:
    replaced = {name: _text(v) for name, v in dataset.variables.items() if _LABELS in v.attrs}
    attrs = dict(dataset.attrs)
    order = attrs.pop(_ORDER, list(dataset.variables))
    return _replace_variables(dataset, replaced, order, attrs)


def _codes(name: str, variable: xr.Variable) -> xr.Variable:
    values = np.asarray(variable.values)
    text_type = "U" if values.dtype.kind == "U" else "O"
    flat = values.ravel().tolist()
    no_text = [item for item in flat if not isinstance(item, str)]
    if no_text:
        raise StoreError(f"Variable {name!r} mixes text with {no_text[0]!r}; write '' where there is no text.")
    code_of = {label: code for code, label in enumerate(sorted(set(flat)))}
    codes = np.fromiter((code_of[item] for item in flat), np.int32, len(flat)).reshape(values.shape)
    attrs = as_json(variable.attrs, f"attributes of {name!r}")
    return xr.Variable(variable.dims, codes, {**attrs, _LABELS: list(code_of), _TEXT_TYPE: text_type})


def _text(variable: xr.Variable) -> xr.Variable:
    attrs = dict(variable.attrs)
    labels, text_type = attrs.pop(_LABELS), attrs.pop(_TEXT_TYPE)
    table = np.array(labels, dtype=object if text_type == "O" else None) if labels else np.array([], dtype=text_type)
    return xr.Variable(variable.dims, table[variable.values], attrs)


def _replace_variables(
    dataset: xr.Dataset, replaced: Mapping[Any, xr.Variable], order: Iterable[Any], attrs: Mapping[Any, Any]
) -> xr.Dataset:
    """Return ``dataset`` with new contents under the same names; coordinates stay coordinates."""
    variables = {name: replaced.get(name, dataset.variables[name]) for name in order}
    data = {name: variable for name, variable in variables.items() if name in dataset.data_vars}
    coords = {name: variable for name, variable in variables.items() if name in dataset.coords}
    return xr.Dataset(data, coords, attrs)
