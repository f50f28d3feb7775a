"""Figures as files: every one, what is written beside it, and what is asked for before anything is drawn."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dashboard.exporting import heading_of
from dashboard.figure_files import command_for, export_figure, figures_table
from dashboard.figures import neural_correlation, runner_ups, site_by_site
from dashboard.provenance import group_in
from dashboard.registry import FIGURES, ask, plain_name
from engine.analyses import ANALYSES
from engine.analyses.rotation import region_medians
from engine.errors import NotAvailableError, RunNotFoundError, SettingsError
from engine.store import add_group
from tests.dashboard.figures import explored
from tests.dashboard.stores import put


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_datasets, other_datasets):
    """Two networks on one recording, of which the first has rotations, and r of all units with one site."""
    root = tmp_path_factory.mktemp("store")
    maps = explored.feature_maps(run_datasets)
    first = put(root, {**run_datasets, "feature_maps": maps, "neural_correlation": counted(run_datasets)})
    correlations = explored.unit_correlations(run_datasets, "site02")
    of_site = {"analysis_version": 1, "analysis_settings": {"site": "site02"}}
    add_group(first, "unit_correlations.2", correlations, of_site)
    about = {"analysis_version": 2, "analysis_settings": {"rotations": 5, "names": ["a", "b"]}, "seed": 3}
    add_group(first, "rotation", rotated(run_datasets["recording"]), about)
    others = {**other_datasets, "recording": run_datasets["recording"], "neural_correlation": counted(other_datasets)}
    return first, put(root, others, network="other", title="Other Net")


def counted(run):
    """The neural correlations of a run, with the sites that have one."""
    found, region = run["neural_correlation"], run["recording"]["region"]
    n_sites = [int((region == name).sum()) for name in found["region"].values]
    n_values = np.repeat(np.array(n_sites)[:, None], found.sizes["layer"], axis=1)
    counts = dict.fromkeys(("n_correlation", "n_held_out"), (("region", "layer"), n_values))
    return found.assign(n_sites=("region", n_sites), **counts)


def rotated(recording):
    rng, n = np.random.default_rng(0), recording.sizes["site"]
    dims = ("scaling", "rotation", "site")
    drawn = {name: (dims, rng.uniform(0.1, 0.5, (2, 5, n))) for name in ("correlation", "held_out", "population")}
    own = {name: ("site", rng.uniform(0.2, 0.6, n)) for name in ("natural", "natural_held_out")}
    found = xr.Dataset({**drawn, **own}, {"scaling": ["raw", "standardised"], "site": recording["site"].values})
    found = found.merge(region_medians(found, recording["region"].values))
    counts = {name: ("region", [5, 7]) for name in ("n_channels", "n_sites", "n_matched")}
    return found.assign(layer=("region", ["fc", "fire2"]), **counts)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_from_a_run_with_its_data_and_where_it_comes_from(name, runs, tmp_path):
    run, other = runs
    figure = FIGURES[name]
    chosen = {"site": "site02"} if "site" in figure.takes else {"region": "V4"} if "region" in figure.takes else {}
    others = [other] if figure.n_others else []
    if any(plain_name(one) in ANALYSES and group_in(run, one, "site02") not in run.names for one in figure.reads):
        with pytest.raises(NotAvailableError, match="Compute it first: unitscope analyse"):
            export_figure(run, name, tmp_path / "figure.svg", **chosen)
        return
    written = export_figure(run, name, tmp_path / "figure.svg", **chosen, others=others)
    assert [path.name for path in written] == ["figure.svg", "figure.csv", "figure.json"]
    assert len(pd.read_csv(written[1]).columns) > 1
    told = json.loads(written[2].read_text())
    assert told["figure"] == name
    assert told["runs"][0]["digest"] == run.digest
    assert len(told["runs"]) == 1 + len(others)
    option = "".join(f" --{key}={value}" for key, value in chosen.items())
    option += f" --with={other.digest[:12]}" if others else ""
    assert told["commands"][-1] == f"unitscope export {run.digest[:12]} {name}{option} -o figure.svg"
    picture = written[0].read_text()
    assert told["title"] in picture
    assert told["commands"][-1] in picture
    assert "SIMULATED" in told["footer"]
    assert "tap " not in told["caption"]
    assert "selected" not in told["keys"]


def test_the_data_are_those_that_the_page_shows(runs, run_datasets, tmp_path):
    _, file, _ = export_figure(runs[0], "runner_ups", tmp_path / "a.svg", region="IT")
    shown = runner_ups.data(run_datasets["matches"], run_datasets["recording"], run_datasets["null"], "IT")
    np.testing.assert_array_equal(pd.read_csv(file)["count"], shown["count"])
    _, file, _ = export_figure(runs[0], "neural_correlation", tmp_path / "b.svg", region="V4", others=[runs[1]])
    assert pd.read_csv(file)["network"].unique().tolist() == ["Tiny Net", "Other Net"]
    data = site_by_site.data(*(run.dataset("matches") for run in runs), run_datasets["recording"], "V4")
    _, file, _ = export_figure(runs[0], "site_by_site", tmp_path / "c.svg", region="V4", others=[runs[1]])
    np.testing.assert_allclose(pd.read_csv(file)["second"], data["second"])


def test_the_commands_hold_the_settings_of_the_analysis(runs, tmp_path):
    told = json.loads(export_figure(runs[0], "rotation", tmp_path / "a.svg")[2].read_text())
    digest = runs[0].digest[:12]
    assert told["commands"][1] == f"unitscope analyse {digest} rotation --seed=3 --set=names=a,b --set=rotations=5"
    assert told["analyses"]["rotation"]["analysis_settings"] == {"rotations": 5, "names": ["a", "b"]}


def test_an_analysis_of_single_sites_is_asked_for_and_told_with_its_site(runs, tmp_path):
    digest = runs[0].digest[:12]
    told = json.loads(export_figure(runs[0], "unit_correlations", tmp_path / "a.svg", site="site02")[2].read_text())
    assert told["commands"][1] == f"unitscope analyse {digest} unit_correlations --set=site=site02"
    with pytest.raises(
        NotAvailableError, match=f"first: unitscope analyse {digest} unit_correlations --set=site=site03"
    ):
        export_figure(runs[0], "unit_correlations", tmp_path / "b.svg", site="site03")
    with pytest.raises(SettingsError, match="figure 'unit_correlations' shows one site: name it, --site"):
        export_figure(runs[0], "unit_correlations", tmp_path / "b.svg")
    assert "unit_correlations --set=site=SITE" in figures_table(runs[0])


def test_what_can_only_be_done_on_the_page_is_not_said_on_paper(runs):
    asked = ask(runs[0], FIGURES["neural_correlation"], region="V4")
    heading = heading_of(neural_correlation, FIGURES["neural_correlation"].data(asked))
    assert heading.caption == ""
    asked = ask(runs[0], FIGURES["runner_ups"], region="V4")
    assert heading_of(runner_ups, FIGURES["runner_ups"].data(asked)).caption == "a row is a site and sums to 100"


def test_an_analysis_that_is_not_stored_is_named_with_its_command_and_not_computed(runs, tmp_path):
    second = runs[1]
    with pytest.raises(NotAvailableError, match=r"shows rotation, which other@planted does not hold\. Compute it"):
        export_figure(second, "rotation", tmp_path / "a.svg")
    assert "rotation" not in second.names
    assert not list(tmp_path.iterdir())
    assert command_for(second, ["comparison"]) == f"unitscope analyse {second.digest[:12]} comparison --set=other=RUN"


def test_a_result_of_an_older_version_is_not_drawn(run_datasets, tmp_path):
    run = put(tmp_path / "store", run_datasets)
    add_group(run, "rotation", rotated(run_datasets["recording"]), {"analysis_version": 1})
    with pytest.raises(NotAvailableError, match=r"Compute it first: unitscope analyse [0-9a-f]{12} rotation$"):
        export_figure(run, "rotation", tmp_path / "a.svg")


@pytest.mark.parametrize(
    ("name", "file", "chosen", "message"),
    [
        ("rotations", "a.svg", {}, r"there is no figure 'rotations'\. There are: responses, layer_profile"),
        ("rotation", "a.bmp", {}, r"a\.bmp: expected a name that ends in \.svg, \.pdf or \.png"),
        ("rotation", "no/a.svg", {}, r"there is no folder .*no\. Make it, or name another"),
        ("responses", "a.svg", {}, r"'responses' shows one site: name it, --site site0\d \(the best match\)"),
        ("responses", "a.svg", {"site": "V4-9"}, r"planted has no site 'V4-9'; it has 12, the best match is site0\d"),
        ("runner_ups", "a.svg", {}, r"'runner_ups' shows one region, and planted has V4, IT: name it, --region V4"),
        ("runner_ups", "a.svg", {"region": "V1"}, r"planted has no region 'V1'; it has V4, IT\."),
        ("site_by_site", "a.svg", {"region": "V4"}, r"compares networks: name another run on planted, --with RUN"),
    ],
)
def test_what_is_not_clear_is_asked_for_before_anything_is_drawn(runs, tmp_path, name, file, chosen, message):
    with pytest.raises(SettingsError, match=message):
        export_figure(runs[0], name, tmp_path / file, **chosen)
    assert not list(tmp_path.iterdir())


def test_runs_of_other_recordings_are_not_compared(runs, run_datasets, tmp_path):
    run, other = runs
    with pytest.raises(SettingsError, match="'rotation' shows one run; leave out --with"):
        export_figure(run, "rotation", tmp_path / "a.svg", others=[other])
    other.manifest["digests"]["responses"] = "changed"
    with pytest.raises(RunNotFoundError, match="networks are compared on one recording"):
        export_figure(run, "site_by_site", tmp_path / "a.svg", region="V4", others=[other])
    del other.manifest["digests"]["responses"]


def test_two_regions_are_compared_only_where_there_are_two(run_datasets, tmp_path):
    one = {name: group for name, group in run_datasets.items() if name not in ("null", "reliability")}
    v4 = (run_datasets["recording"]["region"] == "V4").values
    one["recording"] = run_datasets["recording"].isel(site=v4)
    run = put(tmp_path / "store", {"recording": one["recording"], "neural_correlation": one["neural_correlation"]})
    with pytest.raises(SettingsError, match="compares two regions, and planted has one"):
        export_figure(run, "v4_against_it", tmp_path / "a.svg")
    assert re.search(r"v4_against_it +one region only ", figures_table(run))


def test_a_csv_that_came_from_elsewhere_is_left_alone(runs, tmp_path):
    (tmp_path / "mine.csv").write_text("my,data\n")
    with pytest.raises(SettingsError, match=r"mine\.csv is there already and is not of a figure\. Name another file"):
        export_figure(runs[0], "rotation", tmp_path / "mine.svg")
    assert (tmp_path / "mine.csv").read_text() == "my,data\n"
    export_figure(runs[0], "rotation", tmp_path / "ours.svg")
    export_figure(runs[0], "rotation", tmp_path / "ours.svg")


@pytest.mark.slow
def test_drawing_loads_no_torch(runs, tmp_path):
    told = f"""
import sys
from dashboard.figure_files import export_figure
from engine.store import open_run
export_figure(open_run({str(runs[0].path)!r}), "rotation", Path({str(tmp_path / "a.svg")!r}))
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
