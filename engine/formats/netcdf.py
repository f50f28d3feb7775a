"""Responses in a netCDF-4 file (HDF5): a Brain-Score assembly, or ``Recording.data`` as it was saved."""

from pathlib import Path

import xarray as xr

from engine.errors import RecordingError
from engine.formats.assemblies import is_assembly, read_assembly
from engine.formats.contents import Contents
from engine.formats.hdf5_guard import require_self_contained
from engine.formats.labelled import is_labelled, read_labelled

_CLASSIC = b"CDF"


def read_netcdf(path: Path, window_ms: str | None = None) -> Contents:
    """Return what a netCDF-4 file holds.

    Parameters
    ----------
    path
        With a variable (presentation, neuroid[, time_bin]) as Brain-Score's brainio writes it, or with ``response``
        (stimulus, site) as in ``Recording.data``.
    window_ms
        Which time bins to average, where there are several.

    Raises
    ------
    RecordingError
        If it is damaged, points into other files, claims more than it holds, or holds neither.
    """
    try:
        _require_hdf5(path)
        require_self_contained(path)
        with xr.open_dataset(path, engine="h5netcdf", decode_times=False, decode_timedelta=False) as dataset:
            return read_dataset(dataset, path, window_ms)
    except RecordingError:
        raise
    except Exception as error:  # HDF5, h5netcdf and xarray raise whatever a damaged file makes them stumble over
        raise RecordingError(
            f"{path} cannot be read ({type(error).__name__}: {error}). It is damaged, or no netCDF-4 file; "
            "copy it again, or save it as netCDF-4 with xarray: dataset.to_netcdf(file)."
        ) from error


def read_dataset(dataset: xr.Dataset, path: Path, window_ms: str | None) -> Contents:
    """Return what a labelled dataset holds, whatever file it came from."""
    if is_labelled(dataset):
        return read_labelled(dataset, str(path))
    if is_assembly(dataset):
        return read_assembly(dataset, path, window_ms)
    found = ", ".join(f"{name} {variable.dims}" for name, variable in dataset.variables.items()) or "nothing"
    raise RecordingError(
        f"{path} holds no responses: expected a variable (presentation, neuroid[, time_bin]) of a Brain-Score "
        f"assembly, or 'response' (stimulus, site); found {found[:300]}. "
        "Rename its dims, e.g. dataset.rename(image='stimulus')."
    )


def _require_hdf5(path: Path) -> None:
    with open(path, "rb") as file:
        if file.read(3) == _CLASSIC:
            raise RecordingError(
                f"{path} is a netCDF-3 file; netCDF-4 is read. Convert it: nccopy -k nc4 {path.name} new.nc"
            )
