"""Responses that can be correlated: real numbers, enough of them at every site, averaged over repeats."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import xarray as xr

from engine.errors import RecordingError
from engine.identifiers import first_three, require_ids

LEAST_RESPONSES: Final = 3
"""A correlation over fewer stimuli is 1 or -1 whatever the numbers are."""


def averaged_over_repeats(responses: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return responses averaged over the repeats that were shown, and the single trials.

    Parameters
    ----------
    responses
        (stimulus, site) or (stimulus, site, repeat), any real dtype; NaN or masked = missing.

    Returns
    -------
    response : np.ndarray
        float64 (stimulus, site); NaN where no repeat is left.
    trials : np.ndarray or None
        (stimulus, site, repeat), float32 if every number survives that, else float64; None without repeats.

    Raises
    ------
    RecordingError
        If the array is labelled, has another number of dims, holds no real numbers, or holds infinite ones.
    """
    values = _require_real(responses)
    if values.ndim == 2:
        return values, None
    is_shown = ~np.isnan(values)
    n_shown = is_shown.sum(axis=2)
    total = np.where(is_shown, values, 0.0).sum(axis=2)
    response = np.full(total.shape, np.nan)
    np.divide(total, n_shown, out=response, where=n_shown > 0)
    return response, _as_small_as_exact(values)


def require_responses(data: xr.Dataset) -> None:
    """Pass if every site and every stimulus of a recording has responses to go by.

    Raises
    ------
    RecordingError
        Naming the first sites with fewer than three responses, or the first stimuli without any.
    """
    response = data["response"].transpose("stimulus", "site")
    is_there = np.isfinite(response.values)
    n_there = is_there.sum(axis=0)
    poor = data["site"].values[n_there < LEAST_RESPONSES].tolist()
    if poor:
        raise RecordingError(
            f"{data.attrs['name']}: {len(poor)} of {len(n_there)} sites have fewer than {LEAST_RESPONSES} responses, "
            f"first {first_three(poor)} with {int(n_there[n_there < LEAST_RESPONSES][0])} of {len(is_there)} stimuli. "
            "Leave them out of responses, site_ids and whatever else is given per site."
        )
    empty = data["stimulus"].values[~is_there.any(axis=1)].tolist()
    if empty:
        raise RecordingError(
            f"{data.attrs['name']}: {len(empty)} of {len(is_there)} stimuli have no response at any site, "
            f"first {first_three(empty)}. Leave them out of responses, stimulus_ids and images."
        )


def response_maps(rf_map: Any, site_names: Sequence[str]) -> xr.DataArray:
    """Return receptive-field maps in the order of the sites.

    Parameters
    ----------
    rf_map
        (site, rf_y, rf_x) in any order of dims, with coordinates ``site`` (ids), ``rf_y`` and ``rf_x`` (degrees).

    Raises
    ------
    RecordingError
        If dims or coordinates are missing, the sites are others, degrees do not rise or fall steadily, or a value is
        infinite.
    """
    dims = ("site", "rf_y", "rf_x")
    is_labelled = isinstance(rf_map, xr.DataArray) and set(rf_map.dims) == set(dims) and set(dims) <= set(rf_map.coords)
    if not is_labelled:
        raise RecordingError(
            f"rf_map must be an xr.DataArray with dims and coordinates {dims}, the latter two in degrees, got "
            f"{_described(rf_map)}. Write xr.DataArray(maps, coords={{'site': site_ids, 'rf_y': ..., 'rf_x': ...}}, "
            f"dims={dims})."
        )
    found = require_ids(rf_map["site"], "site", "rf_map")
    if set(found) != set(site_names):
        missing, other = sorted(set(site_names) - set(found)), sorted(set(found) - set(site_names))
        raise RecordingError(
            f"rf_map and site_ids do not name the same sites: {len(missing)} have no map ({first_three(missing)}), "
            f"{len(other)} maps no site ({first_three(other)}). Give one map per site, NaN where there is none."
        )
    for axis in dims[1:]:
        _require_degrees(rf_map[axis])
    maps = rf_map.transpose(*dims).sel(site=list(site_names))
    if maps.dtype.kind not in "fiu" or np.isinf(maps.values).any():
        raise RecordingError(
            f"rf_map must hold finite numbers, NaN = missing; got {maps.dtype}, perhaps infinite ones."
        )
    return maps.astype(np.float64).reset_coords(drop=True)


def _require_real(responses: Any) -> np.ndarray:
    if hasattr(responses, "dims") or hasattr(responses, "columns"):
        raise RecordingError(
            f"responses is a {type(responses).__name__}, whose labels would be lost. Order it as stimulus_ids and "
            "site_ids say, then give its plain numbers: responses.to_numpy()."
        )
    values = responses if isinstance(responses, np.ma.MaskedArray) else np.asarray(responses)
    if values.dtype.kind not in "biuf":
        raise RecordingError(f"responses must be real numbers, got {values.dtype}. Make them float64, NaN = missing.")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise RecordingError(
            f"responses must be (stimulus, site) or (stimulus, site, repeat), none empty, got shape {values.shape}."
        )
    numbers = values.astype(np.float64)
    plain = numbers.filled(np.nan) if isinstance(numbers, np.ma.MaskedArray) else numbers
    infinite = np.argwhere(np.isinf(plain))
    if len(infinite):
        stimulus, site = infinite[0][:2].tolist()
        raise RecordingError(
            f"responses: {len(infinite)} of {plain.size} values are infinite, first at "
            f"stimulus {stimulus}, site {site} (counted from 0). Set what is missing to NaN."
        )
    return plain


def _as_small_as_exact(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    return small if np.array_equal(small, values, equal_nan=True) else values


def _require_degrees(axis: xr.DataArray) -> None:
    is_number = axis.dtype.kind in "fiu"
    steps = np.diff(axis.values.astype(np.float64)) if is_number else np.array([np.nan])
    if not ((steps > 0).all() or (steps < 0).all()) or (is_number and not np.isfinite(axis.values).all()):
        raise RecordingError(
            f"rf_map: coordinate {axis.name!r} must be degrees that rise or fall steadily, got {axis.values}."
        )


def _described(value: Any) -> str:
    if isinstance(value, xr.DataArray):
        return f"dims {value.dims} with coordinates {sorted(map(str, value.coords))}"
    return f"{type(value).__name__} of shape {np.shape(value)}"
