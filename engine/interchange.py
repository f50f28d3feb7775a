"""How does a dataset of a run go into another program? As netCDF, zarr or csv, with meanings, units and provenance.

What another program needs to be told stands in the file: for each variable what it is and its unit, and for the
dataset the run, its settings, seed, versions and digests, and the commands that make it again.
"""

import inspect
import io
import json
import os
import re
import shlex
import shutil
import uuid
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from engine.analyses import ANALYSES, find_analysis
from engine.analyses.per_site import analysis_of
from engine.durable import TEMPORARY
from engine.encoding import as_json
from engine.errors import SettingsError
from engine.schema import RUN_SCHEMAS
from engine.sources import match_command
from engine.store import Run

FORMATS: Final[Mapping[str, str]] = {"netcdf": ".nc", "zarr": ".zarr", "csv": ".csv"}
"""Name of a format, and how its files end."""

_OF_RECORDING: Final = ("response", "trials")
_DEGREES: Final = ("rf_y", "rf_x")
_LENGTHS: Final = (
    "centroid_",
    "sd_m",
    "box_",
    "site_y",
    "site_x",
    "site_radius",
    "distance",
    "mean_distance",
    "random_distance",
    "field_",
)
"""Beginnings of the names of receptive fields' lengths."""
_UNKNOWN: Final = frozenset({"activation", "gradient", "rms", "density", "rf_map"})
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")


def write_dataset(run: Run, name: str, file: Path) -> list[Path]:
    """Write one dataset of a run.

    Parameters
    ----------
    run
        The run.
    name
        Of the dataset: ``run.names``.
    file
        Where to: FILE.nc (netCDF 4), FILE.zarr (a folder, zarr version 2, which every reader knows) or FILE.csv, of
        which one is written for each set of dims, a row for each of their combinations, and FILE.json, which says what
        a csv has no place for. What is there under these names is replaced.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    SettingsError
        If the run has no such dataset, the name ends otherwise, there is no such folder or it cannot be written.
    StoreError
        If the dataset is damaged.
    """
    write = _writer(file)
    if name not in run.names:
        raise SettingsError(
            f"{run.network}@{run.recording} holds no dataset {name!r}. It holds: {', '.join(run.names)}."
        )
    told = described(run, name)
    try:
        return write(told, file)
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror or error}.") from error


def described(run: Run, name: str) -> xr.Dataset:
    """Return a dataset of a run with ``long_name`` and ``units`` on its variables, and its provenance as attributes."""
    dataset = run.dataset(name)
    lengths = str(dataset.attrs.get("unit_of_length", ""))
    response = str(run.dataset("recording").attrs.get("response_unit", ""))
    schema = RUN_SCHEMAS.get(name)
    for key, variable in dataset.variables.items():
        known = {} if schema is None else {**schema.coords, **schema.variables}
        meaning = {"long_name": known[str(key)].meaning} if key in known else {}
        unit = _unit(str(key), variable.dtype, lengths, response)
        variable.attrs = {**meaning, **({"units": unit} if unit else {}), **variable.attrs}
    dataset.attrs = {**_about(run, name), **{key: as_json(value, key) for key, value in dataset.attrs.items()}}
    return dataset


def analyse_again(run: Run, group: str) -> str:
    """Return the command that makes a stored analysis again, with its settings and seed."""
    about, name = run.attributes(group), analysis_of(group)
    settings = [f"--set={key}={_written(value)}" for key, value in about.get("analysis_settings", {}).items()]
    seed = [f"--seed={about['seed']}"] if about.get("seed") else []
    return shlex.join(["unitscope", "analyse", run.digest[:12], name, *seed, *settings])


def as_csv(table: pd.DataFrame, provenance: str = "") -> bytes:
    """Return a table as CSV in UTF-8; text that a spreadsheet would run as a formula gets an apostrophe before it.

    ``provenance`` is a line above the names of the columns, after "# ": ``pandas.read_csv(file, skiprows=1)``.
    """
    safe = table.copy()
    for name in safe.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in safe.dtypes]]:
        safe[name] = [_inert(value) for value in safe[name]]
    safe.columns = [_inert(name) for name in safe.columns]
    written = io.StringIO()
    if provenance:
        written.write(f"# {' '.join(provenance.split())}\n")
    safe.to_csv(written, index=False)
    return written.getvalue().encode("utf-8")


def _about(run: Run, name: str) -> dict[str, Any]:
    """Return what is told of a dataset beside its own attributes."""
    again = [command for command in [match_command(run)] if command]
    about: dict[str, Any] = {"dataset": name, "network": run.network, "recording": run.recording, "run": run.digest}
    if analysis_of(name) in ANALYSES:
        again.append(analyse_again(run, name))
        about["description"] = inspect.getdoc(find_analysis(analysis_of(name)).module.compute) or ""
    exported = shlex.join(["unitscope", "export", run.digest[:12], name, "-o", f"{name}.nc"])
    return {**about, "commands": [*again, exported], "written_by": f"unitscope {version('unitscope')}"}


def _unit(name: str, dtype: np.dtype, lengths: str, response: str) -> str:
    """Return the unit of a variable; "" where it has none to name, "1" where it is a pure number."""
    if dtype.kind != "f" or name in _UNKNOWN:
        return ""
    if name in _OF_RECORDING:
        return response
    if name in _DEGREES:
        return "degrees"
    if name == "angle":
        return "radians"
    is_length = lengths and name.startswith(_LENGTHS) and not name.endswith("_p")
    return lengths if is_length else "1"


def _writer(file: Path) -> Callable[[xr.Dataset, Path], list[Path]]:
    writers = {".nc": _netcdf, ".zarr": _zarr, ".csv": _csv}
    if file.suffix not in writers:
        raise SettingsError(f"-o {file}: expected a name that ends in {', '.join(writers)}.")
    if not file.absolute().parent.is_dir():
        raise SettingsError(f"-o {file}: there is no folder {file.absolute().parent}. Make it, or name another.")
    return writers[file.suffix]


def _netcdf(dataset: xr.Dataset, file: Path) -> list[Path]:
    part = _beside(file)
    try:
        _flat(dataset).to_netcdf(part, engine="h5netcdf")
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return [file]


def _zarr(dataset: xr.Dataset, file: Path) -> list[Path]:
    part = _beside(file)
    try:
        _fixed_text(_flat(dataset)).to_zarr(part, mode="w", zarr_format=2, consolidated=True)
        if file.is_dir():
            _require_zarr(file)
            shutil.rmtree(file)
        os.replace(part, file)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [file]


def _require_zarr(file: Path) -> None:
    if not (file / ".zgroup").is_file():
        raise SettingsError(f"{file} is there already and is no zarr group. Name another with -o.")


def _csv(dataset: xr.Dataset, file: Path) -> list[Path]:
    """Write a table for each set of dims, and what the tables cannot tell beside them."""
    dims = list(dict.fromkeys(variable.dims for variable in dataset.data_vars.values()))
    tables = {one: dataset[[name for name, v in dataset.data_vars.items() if v.dims == one]] for one in dims}
    written = []
    for one, part in tables.items():
        named = file if len(tables) == 1 else file.with_name(f"{file.stem}.{'-'.join(map(str, one)) or 'all'}.csv")
        table = part.drop_vars([name for name, v in part.coords.items() if not set(v.dims) <= set(one)])
        written.append(_placed(named, as_csv(table.to_dataframe().reset_index() if one else _one_row(table))))
    variables = {
        str(name): {"dims": list(map(str, v.dims)), **as_json(v.attrs, str(name))}
        for name, v in dataset.variables.items()
    }
    told = json.dumps({**dataset.attrs, "variables": variables}, indent=2, ensure_ascii=False, default=str)
    return [*written, _placed(file.with_suffix(".json"), told.encode("utf-8"))]


def _one_row(dataset: xr.Dataset) -> pd.DataFrame:
    return pd.DataFrame({str(name): [variable.item()] for name, variable in dataset.data_vars.items()})


def _placed(file: Path, content: bytes) -> Path:
    part = _beside(file)
    try:
        part.write_bytes(content)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return file


def _beside(file: Path) -> Path:
    return file.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{file.name}")


def _flat(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset whose attributes are text and numbers: these formats have no mappings; JSON stands for them."""
    flat = {
        key: value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)
        for key, value in dataset.attrs.items()
    }
    return dataset.drop_encoding().assign_attrs(flat)


def _fixed_text(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset whose text has a fixed width, as zarr version 2 holds it."""
    text = {name: v.astype(str) for name, v in dataset.variables.items() if v.dtype.kind in "OT"}
    return dataset.assign(text) if text else dataset


def _inert(value: object) -> object:
    if not isinstance(value, str):
        return value
    shown = re.sub("[\0\r]", "\N{REPLACEMENT CHARACTER}", value)  # the one ends a text for some, the other a row
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
