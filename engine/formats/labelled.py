"""``Recording.data`` in a labelled file: ``response`` (stimulus, site), perhaps trials and maps, and coordinates."""

from typing import Any

import numpy as np
import xarray as xr

from engine.errors import RecordingError
from engine.formats.contents import Contents, as_text, require_no_fill, require_plausible_size, require_unicode
from engine.schema import REGION, REPEAT, SITE, STIMULUS

_RELATIVE_ERROR = 1e-5


def is_labelled(dataset: xr.Dataset) -> bool:
    """Return whether a dataset has ``response`` along ``stimulus`` and ``site``."""
    return "response" in dataset and {STIMULUS, SITE} == set(dataset["response"].dims)


def read_labelled(dataset: xr.Dataset, where: str) -> Contents:
    """Return what a dataset in the form of ``Recording.data`` holds; single trials instead of their means.

    Raises
    ------
    RecordingError
        If ids are missing, or the response is not the mean of the trials.
    """
    for dim in (STIMULUS, SITE):
        if dim not in dataset.coords:
            raise RecordingError(
                f"{where}: {dim!r} has no ids. Give them: dataset.assign_coords({dim}=[...]); by position nothing is "
                "ever paired."
            )
    for name in ("response", "trials", "rf_map"):
        if name in dataset:
            require_plausible_size(dataset[name].nbytes, dataset[name].nbytes, f"{where}: {name}")
            require_no_fill(dataset[name].values, f"{where}: {name}")
    return Contents(
        where,
        _responses(dataset, where),
        as_text(dataset[STIMULUS].values, "stimulus ids", where),
        as_text(dataset[SITE].values, "site ids", where),
        region=as_text(dataset[REGION].values, "region", where) if REGION in dataset.coords else None,
        site_coords=_along(dataset, SITE),
        stimulus_coords=_along(dataset, STIMULUS),
        rf_map=_maps(dataset, where),
        attrs={str(key): _plain(value) for key, value in dataset.attrs.items()},
    )


def _responses(dataset: xr.Dataset, where: str) -> np.ndarray:
    response = dataset["response"].transpose(STIMULUS, SITE).values
    if "trials" not in dataset:
        return response
    if set(dataset["trials"].dims) != {STIMULUS, SITE, REPEAT}:
        raise RecordingError(f"{where}: trials must be (stimulus, site, repeat), got {dataset['trials'].dims}.")
    trials = dataset["trials"].transpose(STIMULUS, SITE, REPEAT).values
    is_shown = np.isfinite(trials)
    n_shown = is_shown.sum(axis=2)
    total = np.where(is_shown, trials, 0).sum(axis=2, dtype=np.float64)
    mean = np.divide(total, n_shown, out=np.full(total.shape, np.nan), where=n_shown > 0)
    if not np.allclose(response, mean, rtol=_RELATIVE_ERROR, atol=_RELATIVE_ERROR, equal_nan=True):
        stimulus, site = np.argwhere(~np.isclose(response, mean, _RELATIVE_ERROR, _RELATIVE_ERROR, equal_nan=True))[0]
        raise RecordingError(
            f"{where}: response is not the mean of trials, first at stimulus {stimulus}, site {site} (counted from 0): "
            f"{response[stimulus, site]} and {mean[stimulus, site]}. Leave one of them out."
        )
    return trials


def _along(dataset: xr.Dataset, dim: str) -> dict[str, np.ndarray]:
    names = [name for name, variable in dataset.coords.items() if variable.dims == (dim,) and name not in (dim, REGION)]
    return {str(name): plain_column(dataset[name].values, f"coordinate {name!r}") for name in names}


def plain_column(values: np.ndarray, where: str) -> np.ndarray:
    """Return a column with text as text: files give text as objects, perhaps with NaN where nothing is known."""
    require_unicode(values, where)
    if values.dtype.kind != "O":
        return values
    listed = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values.tolist()]
    return np.array(["" if value is None or value != value else value for value in listed], dtype=object)


def _maps(dataset: xr.Dataset, where: str) -> xr.DataArray | None:
    if "rf_map" not in dataset:
        return None
    return dataset["rf_map"].assign_coords({SITE: as_text(dataset[SITE].values, "site ids", where)}).load()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value.tolist() if isinstance(value, np.ndarray) else value
