"""Datasets for other programs: the same values, with what they mean, their units and where they come from."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from engine.errors import SettingsError
from engine.interchange import described, write_dataset
from engine.store import add_group, write_run
from tests.engine import small_runs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a recording, a group of every dtype, and an analysis with lengths."""
    groups = {"recording": small_runs.recording(), "counts": small_runs.counts()}
    made = write_run(tmp_path_factory.mktemp("store"), small_runs.DIGEST, groups, small_runs.manifest())
    fields = xr.Dataset(
        {"centroid_y": ("site", [0.5, np.nan]), "distance_p": ("site", [0.1, 0.2]), "angle": ("site", [0.0, 1.0])},
        {"site": ["=cmd|' /C calc'!A0", "site01"]},
        {"unit_of_length": "degrees"},
    )
    add_group(made, "receptive_fields", fields, {"analysis_settings": {"starts": 8}, "seed": 3, "analysis_version": 1})
    return made


def test_netcdf_and_zarr_hold_the_same_values_as_the_run(run, tmp_path):
    expected = run.dataset("counts").drop_vars("nothing")
    (netcdf,), (zarr,) = (write_dataset(run, "counts", tmp_path / f"counts{end}") for end in (".nc", ".zarr"))
    with xr.open_dataset(netcdf, engine="h5netcdf") as found:
        xr.testing.assert_equal(found.drop_vars("nothing").load(), expected)
    with xr.open_zarr(zarr) as found:
        xr.testing.assert_equal(found.drop_vars("nothing").load(), expected)


def test_every_format_tells_meaning_unit_and_how_to_make_it_again(run, tmp_path):
    told = described(run, "receptive_fields")
    assert told["centroid_y"].attrs["units"] == "degrees"
    assert told["distance_p"].attrs["units"] == "1"
    assert told["angle"].attrs["units"] == "radians"
    response = described(run, "recording")["response"].attrs
    assert response == {"long_name": "trial-averaged response; NaN = missing", "units": "spikes/s"}
    write_dataset(run, "receptive_fields", tmp_path / "fields.nc")
    with xr.open_dataset(tmp_path / "fields.nc", engine="h5netcdf") as found:
        assert found.attrs["run"] == small_runs.DIGEST
        assert "signed" in found.attrs["description"]
        commands = json.loads(found.attrs["commands"])
        assert json.loads(found.attrs["settings"]) == run.settings
    assert commands == [
        f"unitscope analyse {run.digest[:12]} receptive_fields --seed=3 --set=starts=8",
        f"unitscope export {run.digest[:12]} receptive_fields -o receptive_fields.nc",
    ]


def test_csv_has_a_table_for_each_set_of_dims_and_what_they_mean_beside_it(run, tmp_path):
    written = write_dataset(run, "counts", tmp_path / "counts.csv")
    names = [path.name for path in written]
    assert names[-1] == "counts.json"
    assert {"counts.layer-r_bin.csv", "counts.layer.csv", "counts.all.csv"} <= set(names)
    table = pd.read_csv(tmp_path / "counts.layer-r_bin.csv")
    expected = run.dataset("counts")
    np.testing.assert_array_equal(table["count"].to_numpy().reshape(30, 20), expected["count"])
    assert pd.read_csv(tmp_path / "counts.all.csv")["total"].item() == 3.5
    told = json.loads((tmp_path / "counts.json").read_text())
    assert told["variables"]["activation"]["dims"] == ["layer", "stimulus"]
    assert told["run"] == run.digest


def test_a_csv_runs_no_formula(run, tmp_path):
    (table, _) = write_dataset(run, "receptive_fields", tmp_path / "fields.csv")
    assert pd.read_csv(table)["site"][0].startswith("'=cmd")


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("matches", "a.nc", r"holds no dataset 'matches'\. It holds: counts, recording, receptive_fields"),
        ("counts", "a.mat", r"a\.mat: expected a name that ends in \.nc, \.zarr, \.csv"),
        ("counts", "no/a.nc", r"there is no folder .*no\. Make it, or name another"),
    ],
)
def test_what_cannot_be_written_is_said(run, tmp_path, name, file, message):
    with pytest.raises(SettingsError, match=message):
        write_dataset(run, name, tmp_path / file)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_zarr_is_left_alone(run, tmp_path):
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="is there already and is no zarr group"):
        write_dataset(run, "counts", tmp_path / "mine.zarr")
    assert (tmp_path / "mine.zarr" / "notes.txt").read_text() == "mine"
    write_dataset(run, "counts", tmp_path / "ours.zarr")
    write_dataset(run, "counts", tmp_path / "ours.zarr")


def test_a_failed_write_leaves_what_was_there(run, tmp_path, monkeypatch):
    write_dataset(run, "counts", tmp_path / "counts.nc")
    before = (tmp_path / "counts.nc").read_bytes()

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(SettingsError, match=r"counts\.nc cannot be written: No space left on device"):
        write_dataset(run, "counts", tmp_path / "counts.nc")
    assert (tmp_path / "counts.nc").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["counts.nc"]
