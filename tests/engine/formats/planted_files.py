"""One small recording in every format that opens, written by other libraries than ours."""

import io
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image

from engine.encoding import encode

SITES = ("s-1", "s-2", "s-3")


@cache
def png(value):
    content = io.BytesIO()
    Image.fromarray(np.full((3, 4), value, np.uint8)).save(content, "PNG")
    return content.getvalue()


def write_images(path: Path, names, values):
    """A zip of gray images, each of one value, called as the ids."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in zip(names, values, strict=True):
            archive.writestr(f"{name}.png", png(int(value)))


def dataset(ids, responses, sites=SITES):
    return xr.Dataset(
        {"response": (("stimulus", "site"), responses)},
        {"stimulus": np.asarray(ids), "site": list(sites), "region": ("site", ["V4", "V4", "IT"][: len(sites)])},
        {"name": "planted", "window_ms": "70-170"},
    )


def assembly(ids, responses, *, sites=SITES, repeats=1, seed=0, bins=((70, 170),), stimulus_level="image_id"):
    """A Brain-Score assembly of responses (stimulus, site): repeats differ by +-1, presentations in random order."""
    rng = np.random.default_rng(seed)
    shown = rng.permutation(np.repeat(np.arange(len(ids)), repeats))
    repetition = pd.Series(shown).groupby(shown).cumcount().to_numpy()
    offsets = np.resize([1.0, -1.0], repeats) if repeats % 2 == 0 else np.zeros(repeats)
    values = (np.asarray(responses)[shown] + offsets[repetition][:, None])[:, :, None] + np.zeros(len(bins))
    levels = {
        "presentation": {
            stimulus_level: np.asarray(ids)[shown],
            "repetition": repetition,
            "object_name": [f"object-{index % 3}" for index in shown],
        },
        "neuroid": {
            "neuroid_id": list(sites),
            "region": ["V4", "V4", "IT"][: len(sites)],
            "animal": ["M"] * len(sites),
        },
        "time_bin": {"time_bin_start": [begin for begin, _ in bins], "time_bin_end": [end for _, end in bins]},
    }
    coords = {name: (dim, column) for dim, columns in levels.items() for name, column in columns.items()}
    data = xr.DataArray(values.transpose(1, 0, 2), coords=coords, dims=("neuroid", "presentation", "time_bin"))
    data = data.set_index({dim: list(columns) for dim, columns in levels.items()})  # brainio keeps a MultiIndex
    data.attrs = {"stimulus_set_identifier": "lab.Set-public", "stimulus_set": None}
    return data


def write_assembly(path, data, name="data"):
    """As brainio's ``write_netcdf`` does: indexes reset, what netCDF cannot hold dropped, zlib 9."""
    plain = data.reset_index(list(data.indexes))
    plain.attrs = {key: value for key, value in plain.attrs.items() if value is not None}
    whole = plain.to_dataset(name=name, promote_attrs=True)
    whole.to_netcdf(path, engine="h5netcdf", encoding={name: {"zlib": True, "complevel": 9}})


def write_npz(path, ids, responses, **more):
    np.savez_compressed(path, responses=responses, stimulus_ids=np.asarray(ids), site_ids=np.array(SITES), **more)


def write_wide(path, ids, responses):
    lines = [",".join(["stimulus_id", *SITES])]
    lines += [",".join([quoted(name), *map(repr, row)]) for name, row in zip(ids, responses.tolist(), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_long(path, ids, responses):
    lines = ["stimulus_id,site_id,response,region"]
    for name, row in zip(ids, responses.tolist(), strict=True):
        lines += [f"{quoted(name)},{site},{value!r},V4" for site, value in zip(SITES, row, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def quoted(name):
    return f'"{name}"' if isinstance(name, str) and name != name.strip() else str(name)


def write_order(path, ids, responses):
    np.save(path, responses)
    path.with_name("order.txt").write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")


def write_coded(path, ids, responses):
    """As unitscope writes its own zarr groups."""
    for key, content in encode(dataset(list(ids), responses)).items():
        (path / key).parent.mkdir(parents=True, exist_ok=True)
        (path / key).write_bytes(content)


WRITERS = {
    "assembly.nc": lambda path, ids, responses: write_assembly(path, assembly(ids, responses, repeats=2)),
    "labelled.nc": lambda path, ids, responses: dataset(ids, responses).to_netcdf(path, engine="h5netcdf"),
    "ids.npz": write_npz,
    "wide.csv": write_wide,
    "long.csv": write_long,
    "own.zarr": lambda path, ids, responses: dataset(ids, responses).to_zarr(path, zarr_format=2, consolidated=False),
    "coded.zarr": write_coded,
    "positions.npy": write_order,
}
"""How each format is written: (path, ids, responses (stimulus, site))."""


def write(folder, kind, ids, responses):
    """Write responses in one format; return the path and what must be said to open it."""
    path = Path(folder) / kind
    WRITERS[kind](path, ids, responses)
    return path, ({"order": Path(folder) / "order.txt"} if kind.endswith(".npy") else {})
