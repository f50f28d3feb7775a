"""Figures, datasets, or all of a run as files, from the command line and for who was given no store."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from dashboard.export import export, export_all
from dashboard.figure_files import figures_table
from engine.errors import SettingsError
from tests.dashboard.test_figure_files import runs

__all__ = ["runs"]


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """All of a run with two regions, and of the network it is compared with what compares."""
    return export_all(runs[0], tmp_path_factory.mktemp("out") / "results", data="csv", others=[runs[1]])


def test_everything_of_a_run_is_written_or_named_with_the_reason(runs, exported):
    folder = exported.folder
    told = json.loads((folder / "contents.json").read_text())
    assert told["runs"][0]["digest"] == runs[0].digest
    named = {path for paths in told["files"].values() for path in paths}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == named | {"contents.json"}
    assert {name for name in runs[0].names if name != "thumbnails"} == {
        key for key in told["files"] if not key.startswith("figure ")
    }
    assert "--with-images" in told["not written"]["thumbnails"]
    assert "--with-images" in told["not written"]["figure gallery"]
    assert told["not written"]["figure decoding"].startswith("not computed: decoding: unitscope analyse ")


def test_figures_of_one_region_or_site_are_drawn_for_every_region(exported):
    drawn = [name for name in exported.files["figure runner_ups"] if name.endswith(".svg")]
    assert drawn == [
        "figures/runner-ups_V4.svg",
        "figures/runner-ups_IT.svg",
    ]
    assert sum(name.endswith(".svg") for name in exported.files["figure responses"]) == 2
    assert sum(name.endswith(".svg") for name in exported.files["figure site_by_site"]) == 2
    drawn = (exported.folder / "figures" / "runner-ups_V4.svg").read_text()
    assert "SIMULATED" in drawn


def test_a_folder_that_holds_something_is_left_alone(runs, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"is there already\. Name a new folder, or an empty one"):
        export_all(runs[0], tmp_path)
    with pytest.raises(SettingsError, match=r"there is no folder .*no\. Make it, or name another"):
        export_all(runs[0], tmp_path / "no" / "results")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_full_disk_leaves_nothing_behind(runs, tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SettingsError, match="cannot be written: No space left on device"):
        export_all(runs[0], tmp_path / "results", data="csv")
    assert list(tmp_path.iterdir()) == []


def test_the_command_lists_the_figures_and_writes_one(runs, tmp_path):
    run = runs[0]
    listed = CliRunner().invoke(export, [str(run.path)])
    assert listed.exit_code == 0
    assert listed.output.startswith(f"tiny@planted  run {run.digest[:12]}\nfigure ")
    assert re.search(r"\nresponses +--site +ready +2 +Response to every image\n", listed.output)
    assert re.search(r"\nsite_by_site +--region --with RUN +ready ", listed.output)
    told = figures_table(runs[1])
    assert re.search(rf"\nrotation +first: unitscope analyse {runs[1].digest[:12]} rotation +9 ", told)
    done = CliRunner().invoke(export, [str(run.path), "rotation", "-o", str(tmp_path / "a.png")])
    assert done.output.split() == [str(tmp_path / f"a.{suffix}") for suffix in ("png", "csv", "json")]
    nowhere = CliRunner().invoke(export, [str(run.path), "rotation"])
    assert nowhere.exit_code == 2
    assert "name the file: unitscope export" in nowhere.output


@pytest.mark.parametrize("what", ["v4_against_it", "site_by_site", "--all"])
def test_a_run_is_not_compared_with_itself(runs, tmp_path, what):
    path = str(runs[0].path)
    whole, one = ["--all", path, str(tmp_path / "all")], [path, what, "-o", str(tmp_path / "a.svg")]
    arguments = whole if what == "--all" else one
    with pytest.raises(SettingsError, match=r"comes twice: name each run once, and with --with only others\."):
        CliRunner().invoke(export, [*arguments, "--with", path], catch_exceptions=False)


def test_export_is_a_command_of_unitscope():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["unitscope.commands"]["export"] == "dashboard.export:export"


def test_the_command_writes_a_dataset_or_everything(runs, tmp_path):
    path = str(runs[0].path)
    listed = CliRunner().invoke(export, [path])
    assert re.search(r"\ndatasets \(-o FILE\.nc, \.zarr or \.csv\): .*matches", listed.output)
    done = CliRunner().invoke(export, [path, "matches", "-o", str(tmp_path / "matches.nc")])
    assert done.output.split() == [str(tmp_path / "matches.nc")]
    with xr.open_dataset(tmp_path / "matches.nc", engine="h5netcdf") as found:
        np.testing.assert_array_equal(found["correlation"], runs[0].dataset("matches")["correlation"])
    nowhere = CliRunner().invoke(export, ["--all", path])
    assert nowhere.exit_code == 2
    assert "name the new folder: unitscope export --all" in nowhere.output
    wrong = CliRunner().invoke(export, [path, "matches", "-o", str(tmp_path / "matches.doc")])
    assert isinstance(wrong.exception, SettingsError)
    assert ".svg, .pdf or .png (a figure), .nc, .zarr or .csv (a dataset)" in str(wrong.exception)
