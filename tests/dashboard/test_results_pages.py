"""Overview, Population and Selection without a browser: what their switches show, and what their headers say."""

import re

import numpy as np
import pytest
import xarray as xr

from dashboard.results import Results
from dashboard.views.selection import needed
from dashboard.views.session import Session
from engine.store import add_group
from tests.dashboard.stores import put
from tests.dashboard.test_figure_files import counted, rotated


@pytest.fixture(scope="module")
def store(tmp_path_factory, run_datasets, other_datasets):
    """Two networks on one recording, of which the first has rotations and no other costly analysis."""
    root = tmp_path_factory.mktemp("store")
    first = put(root, {**run_datasets, "neural_correlation": counted(run_datasets)})
    add_group(first, "rotation", rotated(run_datasets["recording"]), {"analysis_version": 2})
    others = {**other_datasets, "recording": run_datasets["recording"], "neural_correlation": counted(other_datasets)}
    put(root, others, network="other", title="Other Net")
    return root


@pytest.fixture(scope="module")
def session(store):
    return Session(Results(store), {"page": "overview", "network": "tiny", "region": "V4"})


def shown(session):
    page = next(page for page in session.pages.values() if page.screen is not None and page.screen.visible)
    return page, {name: re.sub(r"<[^>]*>", " ", html) for name, html in page.screen.written.items()}


def test_the_scatter_of_networks_changes_with_the_view_of_the_address(session):
    page, areas = shown(session)
    assert "V4 against IT" in areas["pair-head"]
    assert "networks_units" not in {name for name, html in areas.items() if html.strip() and name.endswith("-head")}
    session.act({"do": "select", "view": "units"})
    page, areas = shown(session)
    assert page.cards["networks_units"].data.attrs["n_left_out"] == 2
    assert "No network on planted tells its number of units." in areas["networks_units-state"]
    assert "Score against accuracy and size" in areas["networks_units-head"]
    assert not areas["pair-head"].strip()
    assert "view=units" in session.browser.address["query"]


def test_a_quantity_that_no_network_tells_is_said(session):
    session.act({"do": "select", "view": "top1"})
    assert "No network on planted tells its ImageNet top-1 accuracy." in shown(session)[1]["networks_top1-state"]


def test_table_1_takes_the_place_of_the_list_and_keeps_the_scatter(session):
    session.act({"do": "select", "view": "sites table"})
    page, areas = shown(session)
    assert "Networks of the paper, and these" in areas["networks_table-head"]
    assert not areas["networks-head"].strip()
    assert "Site by site" in areas["site_by_site-head"]
    assert "Tiny Net" in page.cards["networks_table"].data["network"].tolist()
    assert 'data-view="units table"' in page.screen.written["site_by_site-head"]
    session.act({"do": "select", "view": "nonsense"})
    assert "V4 against IT" in shown(session)[1]["pair-head"]


def test_of_many_networks_the_chosen_one_comes_first_coloured_and_alone_is_named(tmp_path, run_datasets):
    few = ("recording", "layers", "matches", "layer_profile", "folds", "null")
    found = {name: run_datasets[name] for name in few}
    for i in range(13):
        scores = counted(run_datasets)
        put(tmp_path, {**found, "neural_correlation": scores + i / 100}, network=f"net{i:02d}", title=f"Net {i}")
    session = Session(Results(tmp_path), {"page": "overview", "network": "net03", "region": "V4"})
    page, _ = shown(session)
    rows = page.cards["networks"].data
    networks = rows[rows["layer"] == ""]
    assert networks["network"].tolist()[:3] == ["Net 3", "Net 12", "Net 11"]
    assert networks["token"].tolist() == ["network1"] + ["control"] * 12
    drawing = page.cards["pair"].shown.drawing
    assert drawing.marks_of("NetworkMatch").columns["key"][-1] == "Net 3"
    assert len(drawing.marks_of("NetworkHeldOut").columns["x"]) == 1
    assert page.cards["networks"].shown.figure.min_height > 300
    page.cards["networks"]._on_tap("Net 7")
    assert session.selection.network == "net07"


def test_population_says_how_much_a_rotation_leaves_and_what_is_not_computed(store, run_datasets):
    session = Session(Results(store), {"page": "population", "network": "tiny", "region": "V4"})
    _, areas = shown(session)
    one = rotated(run_datasets["recording"]).sel(region="V4")
    ratio = float(one["mean_held_out"].sel(scaling="raw")) / float(one["median_natural_held_out"])
    assert f"{ratio:.2f}" in areas["header"]
    assert areas["header"].count("not computed yet") == 2
    assert "unitscope analyse" in areas["decoding-state"]


def test_selection_says_why_there_is_no_number_and_names_the_run_to_compare_with(store):
    session = Session(Results(store), {"page": "selection", "network": "tiny", "region": "V4"})
    _, areas = shown(session)
    assert areas["header"].count("not computed yet") == 4
    other = next(run for run in session.results.runs("planted") if run.network == "other")
    assert f"comparison --set=other={other.digest[:12]}" in areas["comparison-state"]
    assert "Other Net" in areas["comparison-state"]


def test_one_network_is_told_to_match_another(tmp_path, run_datasets):
    put(tmp_path, run_datasets)
    _, areas = shown(Session(Results(tmp_path), {"page": "selection"}))
    assert "It compares networks: match another one against planted." in areas["comparison-state"]


def test_selection_tells_what_is_stored(tmp_path, run_datasets):
    run = put(tmp_path, run_datasets)
    regions = np.array(["V4", "IT"], dtype=object)
    curve = xr.Dataset(
        {
            "n_95": ("region", [900.0, np.nan]),
            "asymptote": ("region", [0.5, np.nan]),
            "fit_status": ("region", np.array(["ok", "still rising"], dtype=object)),
        },
        {"region": regions, "size": [10, 40]},
    )
    add_group(run, "selection_curve", curve, {"analysis_version": 0})
    for region, told in (("V4", "900 asymptote 0.50, by extrapolation"), ("IT", "n/a still rising")):
        chosen = Results(tmp_path).choose(
            Session(Results(tmp_path), {"page": "provenance", "region": region}).selection
        )

        assert told in re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", str(needed(chosen))))
