import numpy as np
import pytest
import xarray as xr

from dashboard.figures import selection_curve, selection_curve_stability


def analysis(n_95=84.0, status="ok"):
    """What the analysis ``selection_curve`` stores, of two regions and four sizes."""
    sizes, dims = [10, 40, 160, 320], ("region", "size")
    held_out = np.array([[0.1, 0.3, 0.38, 0.4], [-0.05, 0.1, 0.2, 0.25]])
    medians = {"selected": held_out + [[0.8, 0.4, 0.15, 0.1]] * 2, "held_out": held_out, "rest": held_out}
    medians["gap"] = medians["selected"] - held_out
    variables = {f"{name}_median": (dims, value) for name, value in medians.items()}
    variables |= {f"{name}_sd": (dims, np.full((2, 4), 0.03)) for name in medians}
    variables |= {
        "same": (dims, np.array([[0.1, 0.4, 0.8, 1.0]] * 2)),
        "same_sd": (dims, np.full((2, 4), 0.05)),
        "silent": (dims, np.zeros((2, 4))),
        "chance": ("size", [0.95, 0.6, 0.35, 0.26]),
        "asymptote": ("region", [0.42, np.nan]),
        "n_95": ("region", [n_95, np.nan]),
        "fit_status": ("region", [status, "not saturated"]),
        "n_sites": ("region", [49, 7]),
        "n_left_out": ("region", [1, 0]),
        "selected": (("size", "draw", "site"), np.zeros((4, 10, 3))),
    }
    about = {"n_stimuli": 640, "n_evaluation": 320, "n_units": 1619496, "stratified_by": "category, object"}
    return xr.Dataset(variables, {"region": ["V4", "IT"], "size": sizes}, about)


@pytest.fixture
def data():
    return selection_curve.data(analysis(), "V4")


def test_values_are_those_of_the_analysis(data):
    row = data.set_index("size").loc[40]
    assert row[["selected", "held_out", "gap", "same", "chance"]].tolist() == pytest.approx([0.7, 0.3, 0.4, 0.4, 0.6])
    assert data.attrs["n_draws"] == 10


def test_selection_and_held_out_r_are_different_marks(data):
    drawing = selection_curve.describe(data)
    np.testing.assert_array_equal(drawing.marks_of("Match").columns["y"], data["selected"])
    np.testing.assert_array_equal(drawing.marks_of("HeldOut").columns["y"], data["held_out"])
    np.testing.assert_array_equal(drawing.marks_of("Slope").columns["y"], data["gap"])
    np.testing.assert_array_equal(drawing.marks_of("ChanceEdge").columns["y"], data["chance"])
    np.testing.assert_allclose(drawing.marks_of("Match").columns["x"], np.log10([10, 40, 160, 320]))


def test_the_pin_stands_where_the_plateau_begins_and_only_there(data):
    pinned = selection_curve.describe(data)
    assert pinned.marks_of("Pin").columns["x0"][0] == pytest.approx(np.log10(84))
    assert pinned.marks_of("PinNoteLeft").columns["text"][0] == "84 images: 95% of the asymptote"
    assert pinned.marks_of("PinNoteRight").is_empty
    without = selection_curve.data(analysis(), "IT")
    assert selection_curve.describe(without).marks_of("Pin").is_empty
    assert "95% of an asymptote: not saturated" in selection_curve.caption(without)


def test_an_extrapolated_plateau_is_said_and_not_drawn():
    beyond = selection_curve.data(analysis(1248.0, "extrapolated"), "V4")
    assert selection_curve.describe(beyond).marks_of("Pin").is_empty
    assert selection_curve.caption(beyond).endswith("; 95% of the asymptote at some 1.2k images, by extrapolation")


def test_the_caption_says_how_many_images_score(data):
    assert selection_curve.caption(data) == (
        "49 of 50 V4 sites, 10 draws, balanced by category, object; held-out r on 320 of 640 images"
    )


def test_the_axis_holds_negative_held_out_values():
    assert selection_curve.describe(selection_curve.data(analysis(), "IT")).axes.ylim[0] < -0.07


def test_stability_is_the_share_of_sites(data):
    drawing = selection_curve_stability.describe(selection_curve_stability.data(analysis(), "V4"))
    np.testing.assert_array_equal(drawing.marks_of("Match").columns["y"], data["same"])
    assert drawing.axes.ylabel == "Share of 49 V4 sites"
    assert drawing.marks_of("Quartiles").columns["high"].max() == 1
    assert selection_curve_stability.caption(data) == "of 1,619,496 units; the match is chosen on all 640 images"
