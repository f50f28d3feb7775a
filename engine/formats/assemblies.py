"""Brain-Score's data assemblies: (presentation, neuroid[, time_bin]), as its package brainio writes them to netCDF.

Every dim had a MultiIndex; its levels lie in the file as coordinates of their own (``reset_index``). Repeats are
presentations of one stimulus. See docs/SPECIFICATION.md in github.com/brain-score/brainio.
"""

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from engine.errors import RecordingError
from engine.formats.contents import Contents, as_text, require_no_fill, require_plausible_size
from engine.formats.labelled import plain_column

_DIMS: Final = {"presentation", "neuroid"}
_BIN: Final = "time_bin"
_STIMULUS_IDS: Final = ("stimulus_id", "image_id")
_SITE_IDS: Final = ("neuroid_id", "neuroid", "neuroid_")
_RENAMED: Final = {"category_name": "category", "object_name": "object"}
_TAKEN: Final = frozenset({"stimulus", "site", "repeat", "region", "response", "trials", "rf_map", "rf_y", "rf_x"})


def is_assembly(dataset: xr.Dataset) -> bool:
    """Return whether a variable of the dataset runs along presentations and neuroids."""
    return any(_is_data(variable) for variable in dataset.data_vars.values())


def read_assembly(dataset: xr.Dataset, path: Path, window_ms: str | None) -> Contents:
    """Return what an assembly holds; presentations of one stimulus become repeats, in their order in the file.

    Parameters
    ----------
    dataset
        As opened from netCDF.
    path
        Its file, for messages; its stem is the name if the assembly has none.
    window_ms
        "70-170": the bins to average, needed where there are several.

    Raises
    ------
    RecordingError
        If there are several variables, ids are missing, or the window does not fit the bins.
    """
    where = str(path)
    named = {str(name): variable for name, variable in dataset.data_vars.items() if _is_data(variable)}
    if len(named) > 1:
        raise RecordingError(f"{where} holds {len(named)} assemblies ({', '.join(named)}); keep one in a file.")
    name, data = next(iter(named.items()))
    stimulus_ids = _ids(data, "presentation", _STIMULUS_IDS, where)
    site_ids = _ids(data, "neuroid", _SITE_IDS, where)
    values, window = _in_window(data, where, window_ms)
    names, code = np.unique(np.array(stimulus_ids, dtype=object), return_inverse=True)
    order = _by_first(code)
    place = np.empty(len(names), int)
    place[order] = np.arange(len(names))
    site_coords, stimulus_coords = _site_coords(data), _stimulus_coords(data, place[code])
    attrs: dict[str, Any] = {"name": str(dataset.attrs.get("identifier") or (path.stem if name == "data" else name))}
    return Contents(
        where,
        _trials(values, place[code], len(names)),
        names[order].tolist(),
        site_ids,
        region=as_text(data["region"].values, "region", where) if "region" in data.coords else None,
        site_coords=site_coords,
        stimulus_coords={key: value for key, value in stimulus_coords.items() if key not in site_coords},
        attrs=attrs | ({"window_ms": window} if window else {}) | {"source": f"Brain-Score assembly {attrs['name']}"},
        stimulus_set=str(data.attrs.get("stimulus_set_identifier", dataset.attrs.get("stimulus_set_identifier", ""))),
    )


def _is_data(variable: xr.DataArray) -> bool:
    return set(variable.dims) - {_BIN} == _DIMS and variable.dtype.kind in "biuf"


def _ids(data: xr.DataArray, dim: str, candidates: tuple[str, ...], where: str) -> list[str]:
    for name in candidates:
        if name in data.coords and data[name].dims == (dim,):
            return as_text(data[name].values, name, where)
    raise RecordingError(
        f"{where}: no ids along {dim!r}: expected a coordinate {' or '.join(candidates[:2])}, found "
        f"{', '.join(map(str, data.coords)) or 'none'}. Add it before the assembly is packaged."
    )


def _by_first(code: np.ndarray) -> np.ndarray:
    """Return the codes in the order in which they first appear."""
    _, first = np.unique(code, return_index=True)
    return np.argsort(first)


def _in_window(data: xr.DataArray, where: str, window_ms: str | None) -> tuple[np.ndarray, str]:
    """Return (presentation, neuroid) and the window that it was counted in, "" if nobody says."""
    if _BIN not in data.dims:
        return _values(data, where), window_ms or ""
    bins = _bins(data, where)
    if data.sizes[_BIN] == 1:
        return _values(data.isel({_BIN: 0}), where), _only_window(bins, where, window_ms)
    if bins is None:
        raise RecordingError(f"{where} has {data.sizes[_BIN]} time bins without time_bin_start and time_bin_end.")
    chosen = _chosen(bins, where, window_ms)
    widths = np.array([bins[index][1] - bins[index][0] for index in chosen])
    weights = widths / widths[0]  # exactly 1 where all are as wide
    total = np.zeros((data.sizes["presentation"], data.sizes["neuroid"]))
    for index, weight in zip(chosen, weights, strict=True):
        total += weight * _values(data.isel({_BIN: index}), where)
    return total / weights.sum(), str(window_ms)


def _only_window(bins: list[tuple[float, float]] | None, where: str, window_ms: str | None) -> str:
    if bins is None:
        return window_ms or ""
    own = f"{bins[0][0]:g}-{bins[0][1]:g}"
    if window_ms is not None and window_edges(window_ms) != bins[0]:
        raise RecordingError(f"{where} was counted in {own} ms; {window_ms} cannot be had from it. Leave it out.")
    return own


def _values(data: xr.DataArray, where: str) -> np.ndarray:
    flat = data.transpose("presentation", "neuroid")
    require_plausible_size(flat.nbytes, flat.nbytes, f"{where}: {data.name}")
    values = flat.values
    require_no_fill(values, where)
    return values


def _bins(data: xr.DataArray, where: str) -> list[tuple[float, float]] | None:
    if not {"time_bin_start", "time_bin_end"} <= set(data.coords):
        return None
    starts, ends = (np.atleast_1d(data[f"time_bin_{end}"].values).astype(float) for end in ("start", "end"))
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _chosen(bins: list[tuple[float, float]], where: str, window_ms: str | None) -> list[int]:
    """Return the bins that make up the window without gap or overlap."""
    told = f"{where} has {len(bins)} time bins, {_told(bins)}"
    if window_ms is None:
        raise RecordingError(
            f"{told}. Say which to average: --window-ms 70-170 (in Python window_ms='70-170'), made of whole bins."
        )
    begin, end = window_edges(window_ms)
    exact = [index for index, edges in enumerate(bins) if edges == (begin, end)]
    if exact:
        return exact[:1]
    inside = sorted((start, stop, index) for index, (start, stop) in enumerate(bins) if begin <= start and stop <= end)
    edges = [begin, *(stop for _, stop, _ in inside)]
    if not inside or [start for start, _, _ in inside] != edges[:-1] or edges[-1] != end:
        raise RecordingError(f"{told}; {window_ms} ms is not made of whole ones side by side. Choose such a window.")
    return [index for _, _, index in inside]


def _told(bins: list[tuple[float, float]]) -> str:
    told = [f"{start:g}-{stop:g}" for start, stop in bins]
    return f"{', '.join(told if len(told) < 5 else [*told[:2], '...', told[-1]])} ms"


def window_edges(text: str) -> tuple[float, float]:
    """Return where a window such as "70-170" begins and ends, in ms after the image came on."""
    number = r"\s*(-?\d+(?:\.\d+)?)\s*"
    found = re.fullmatch(f"{number}-{number}", text)
    if not found or float(found[1]) >= float(found[2]):
        raise RecordingError(
            f"window_ms must be like '70-170' (from, to, in ms after the image came on), got {text!r}."
        )
    return float(found[1]), float(found[2])


def _trials(values: np.ndarray, code: np.ndarray, n_stimuli: int) -> np.ndarray:
    """Return (stimulus, site, repeat) of (presentation, site); (stimulus, site) if nothing was shown twice."""
    counts = np.bincount(code, minlength=n_stimuli)
    by_stimulus = np.argsort(code, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    repeat = np.empty(len(code), int)
    repeat[by_stimulus] = np.arange(len(code)) - np.repeat(starts, counts)
    dtype = values.dtype if values.dtype.kind == "f" else np.float64
    n_bytes = n_stimuli * values.shape[1] * int(counts.max()) * np.dtype(dtype).itemsize
    require_plausible_size(n_bytes, values.nbytes, "an assembly with its repeats side by side")
    trials = np.full((n_stimuli, int(counts.max()), values.shape[1]), np.nan, dtype)
    trials[code, repeat] = values
    return trials[:, 0] if counts.max() == 1 else trials.transpose(0, 2, 1)


def _site_coords(data: xr.DataArray) -> dict[str, np.ndarray]:
    left_out = {*_SITE_IDS, *_TAKEN}
    names = [str(n) for n, c in data.coords.items() if c.dims == ("neuroid",) and n not in left_out]
    return {name: column for name in names if (column := _column(data[name].values, name)) is not None}


def _stimulus_coords(data: xr.DataArray, code: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is the same at every presentation of a stimulus, under our names."""
    found: dict[str, np.ndarray] = {}
    _, first = np.unique(code, return_index=True)
    for name, coordinate in data.coords.items():
        if coordinate.dims != ("presentation",) or name in {"presentation", "repetition", *_STIMULUS_IDS, *_TAKEN}:
            continue
        column = _column(coordinate.values, str(name))
        if column is None:
            continue
        by_stimulus = column[first]
        same = by_stimulus[code] == column
        if bool(np.all(same | ((column != column) & (by_stimulus[code] != by_stimulus[code])))):
            found[_RENAMED.get(str(name), str(name))] = by_stimulus
    return found


def _column(values: np.ndarray, name: str) -> np.ndarray | None:
    """Return a coordinate as text or numbers; None if it is something else."""
    column = plain_column(values, f"coordinate {name!r}")
    if column.dtype.kind == "O" and not all(isinstance(value, str) for value in column.tolist()):
        return None
    return column if column.dtype.kind in "biufUO" else None
