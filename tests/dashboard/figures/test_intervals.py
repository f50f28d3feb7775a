"""The figure of intervals, from planted values of the analysis."""

import numpy as np
import pytest
import xarray as xr

from dashboard.figures import chance, intervals
from dashboard.figures.drawing import Shown, paper

SITES = [f"site{i:02d}" for i in range(7)]


def analysed(**changes) -> xr.Dataset:
    rng = np.random.default_rng(0)
    r = rng.uniform(0.3, 0.6, 7)
    values = {
        "correlation": r,
        "correlation_low": r - 0.05,
        "correlation_high": r + 0.05,
        "held_out": r - 0.1,
        "held_out_low": r - 0.17,
        "held_out_high": r - 0.03,
        "reliability": np.array([0.8, 0.7, 0.2, 0.9, 0.5, 0.6, 0.29]),
        "noise_ceiling": np.sqrt([0.8, 0.7, 0.2, 0.9, 0.5, 0.6, 0.29]),
        "is_unreliable": np.array([0, 0, 1, 0, 0, 0, 1], bool),
        "correlation_status": np.full(7, "ok"),
        "held_out_status": np.array(["ok", "stand-in", *["ok"] * 5]),
        **changes,
    }
    dims = ("region", "resampled")
    medians = {}
    for name, middle in (("correlation", 0.45), ("held_out", 0.35)):
        ends = {"_low": [[0.41, 0.4, 0.38]], "_high": [[0.48, 0.5, 0.52]]}
        medians |= {f"median_{name}": ("region", [middle]), f"n_{name}": ("region", [7])}
        medians |= {f"median_{name}{end}": (dims, value) for end, value in ends.items()}
    return xr.Dataset(
        {name: ("site", value) for name, value in values.items()} | medians | {"n_sites": ("region", [7])},
        {
            "site": SITES,
            "region_of_site": ("site", ["V4"] * 7),
            "region": ["V4"],
            "resampled": ["stimuli", "sites", "both"],
        },
        {
            "n_stimuli": 120,
            "n_resamples": 2000,
            "strata": "object",
            "reliable_from": 0.3,
            "ceiling_method": "split half, Spearman-Brown",
        },
    )


@pytest.fixture
def data(run_datasets):
    return intervals.data(analysed(), run_datasets["null"], "V4")


def test_sites_come_best_first_with_their_own_values(data):
    assert data["correlation"].is_monotonic_decreasing
    expected = analysed().sel(site=data["site"][2])
    assert data.loc[2, "held_out_high"] == expected["held_out_high"]
    assert data.loc[2, "reliability"] == expected["reliability"]


def test_only_unreliable_sites_are_grey_and_the_note_says_where_the_threshold_stands(data):
    drawing = intervals.describe(data)
    for role in ("NetworkSite", "NetworkLayerHeldOutDense", "IntervalY", "HeldOutInterval"):
        tokens = drawing.marks_of(role).columns["token"]
        assert ((tokens == "control") == data["is_unreliable"]).all()
    assert drawing.marks_of("Note").columns["text"][0] == "grey: reliability below 0.30, 2 of 7 sites"


def test_intervals_stand_at_their_dots(data):
    drawing = intervals.describe(data)
    for bar, dot, name in (
        ("IntervalY", "NetworkSite", "correlation"),
        ("HeldOutInterval", "NetworkLayerHeldOutDense", "held_out"),
    ):
        columns, dots = drawing.marks_of(bar).columns, drawing.marks_of(dot).columns
        np.testing.assert_array_equal(columns["x0"], dots["x"])
        np.testing.assert_array_equal(columns["y0"], data[f"{name}_low"])
        np.testing.assert_array_equal(columns["y1"], data[f"{name}_high"])


def test_two_kinds_of_chance(data, run_datasets):
    drawing = intervals.describe(data)
    assert drawing.marks_of("Chance").columns["top"][0] == chance.best_of_all(run_datasets["null"], "V4")
    assert drawing.marks_of("ChanceHeldOut").columns["top"][0] == chance.held_out(run_datasets["null"], "V4")


def test_the_text_gives_the_medians_with_the_interval_over_images_and_sites(data):
    assert intervals.describe(data).marks_of("NoteInk").columns["text"][0] == (
        "median r 0.45 (0.38 to 0.52, 7 sites), held-out r 0.35 (0.38 to 0.52, 7 sites); "
        "intervals over images and sites"
    )
    assert intervals.caption(data) == (
        "7 V4 sites, 120 images, 2,000 resamples drawn within each object, ceiling: split half, Spearman-Brown, "
        "held-out interval by a stand-in at 1 site"
    )


def test_without_trials_and_folds_it_says_so(run_datasets):
    none = np.full(7, np.nan)
    changes = dict.fromkeys(("reliability", "noise_ceiling", "held_out", "held_out_low", "held_out_high"), none)
    found = analysed(**changes, is_unreliable=np.zeros(7, bool), held_out_status=np.full(7, "no folds"))
    found["n_held_out"][:] = 0
    found.attrs |= {"ceiling_method": "not available: no trials", "strata": ""}
    data = intervals.data(found, run_datasets["null"], "V4")
    drawing = intervals.describe(data)
    assert drawing.marks_of("Note").columns["text"][0] == "reliability not available: no trials"
    assert "held-out" not in drawing.marks_of("NoteInk").columns["text"][0]
    assert [key.label for key in intervals.keys(data)] == ["r", "95% interval over images", "chance, r"]
    assert intervals.caption(data) == (
        "7 V4 sites, 120 images, 2,000 resamples drawn from all images, no noise ceiling"
    )


def test_it_draws_on_the_page_and_on_paper_and_a_tap_gives_the_site(data):
    drawing = intervals.describe(data, site=data["site"][1])
    assert Shown(drawing, width=900).key_at(2.0, 0.5) == data["site"][2]
    assert paper(drawing).axes


def test_a_region_without_sites_draws(run_datasets):
    found = analysed().isel(site=slice(0)).copy()
    found["n_correlation"][:], found["n_held_out"][:] = 0, 0
    data = intervals.data(found, run_datasets["null"], "V4")
    assert intervals.describe(data).marks_of("NoteInk").columns["text"][0] == "no site has a match"
