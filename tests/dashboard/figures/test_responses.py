import numpy as np
import pytest
from scipy import stats

from dashboard.figures import responses

GROUPS = ("recording", "matches", "match_responses")


@pytest.fixture
def data(run_datasets):
    return responses.data(*(run_datasets[name] for name in GROUPS), "site03")


def test_the_slope_of_the_points_is_the_match_r(data):
    slope = stats.linregress(data["site_sd"], data["unit_sd"]).slope
    assert slope == pytest.approx(data.attrs["correlation"], abs=1e-6)


def test_both_axes_are_in_standard_deviations_with_divisor_n(data):
    for name in ("site_sd", "unit_sd"):
        assert data[name].mean() == pytest.approx(0, abs=1e-9)
        assert data[name].std(ddof=0) == pytest.approx(1)


def test_favourites_are_the_strongest_ten(data):
    strongest = data.nlargest(10, "site_sd")
    assert set(data.loc[data["is_site_favourite"], "stimulus"]) == set(strongest["stimulus"])
    assert data["is_unit_favourite"].sum() == 10
    assert sorted(data["site_rank"]) == list(range(1, 121))


def test_a_rectified_unit_is_silent_on_its_floor(data):
    assert 0.01 < data.attrs["silent"] < 0.99
    floor = data.loc[data["is_silent"], "unit_sd"]
    assert floor.nunique() == 1
    assert floor.iloc[0] == data["unit_sd"].min()
    note = responses.describe(data).marks_of("SilentNote").columns["text"]
    assert note[0] == f"unit silent on {100 * data.attrs['silent']:.0f}% of images"


def test_a_unit_that_never_reaches_zero_has_no_note(run_datasets):
    shifted = run_datasets["match_responses"].assign(activation=run_datasets["match_responses"]["activation"] + 1)
    data = responses.data(run_datasets["recording"], run_datasets["matches"], shifted, "site03")
    assert data.attrs["silent"] == 0
    assert responses.describe(data).marks_of("SilentNote").is_empty


def test_a_missing_response_is_left_out_of_standardising_and_of_ranks(run_datasets):
    recording = run_datasets["recording"].copy(deep=True)
    recording["response"].loc[{"site": "site03", "stimulus": "image0007"}] = np.nan
    data = responses.data(recording, run_datasets["matches"], run_datasets["match_responses"], "site03")
    row = data.set_index("stimulus").loc["image0007"]
    assert np.isnan(row["site_sd"])
    assert np.isnan(row["unit_sd"])
    assert row["site_rank"] == 0
    assert np.isfinite(data["site_sd"]).sum() == 119
    assert responses.caption(data) == "a point is an image (119)"


def test_stimuli_are_aligned_by_id(run_datasets):
    turned = run_datasets["match_responses"].isel(stimulus=slice(None, None, -1))
    straight, back = (
        responses.data(run_datasets["recording"], run_datasets["matches"], units, "site03")
        for units in (run_datasets["match_responses"], turned)
    )
    np.testing.assert_array_equal(straight["unit_sd"], back["unit_sd"])


def test_a_rank_without_a_unit_draws_no_points(run_datasets):
    matches = run_datasets["matches"].copy(deep=True)
    matches["match_unit"][:, 99] = -1
    matches["correlation"][:, 99] = np.nan
    data = responses.data(run_datasets["recording"], matches, run_datasets["match_responses"], "site03", rank=99)
    assert data["unit_sd"].isna().all()
    assert responses.describe(data).marks_of("SlopeNote").is_empty


def test_the_frame_has_the_same_range_on_both_axes_and_holds_every_point(data):
    axes = responses.describe(data).axes
    assert axes.is_square
    assert axes.xlim == axes.ylim
    both = data[["site_sd", "unit_sd"]].to_numpy()
    assert axes.xlim[0] <= both.min()
    assert both.max() <= axes.xlim[1]
    steps = np.diff([at for at, _ in axes.xticks])
    assert set(steps) <= {2, 4, 8}


def test_the_selected_image_has_a_ring_and_a_halo(data):
    drawing = responses.describe(data, stimulus="image0011")
    row = data.set_index("stimulus").loc["image0011"]
    for role in ("Selection", "SelectionHalo"):
        columns = drawing.marks_of(role).columns
        assert (columns["x"][0], columns["y"][0]) == (row["site_sd"], row["unit_sd"])
    assert responses.describe(data, stimulus="nobody").marks_of("Selection").is_empty


def test_addresses_of_thumbnails_cannot_leave_their_folder(run_datasets):
    names = run_datasets["recording"]["stimulus"].values.copy()
    names[0] = "../a b/#1?.png"
    renamed = [run_datasets[name].assign_coords(stimulus=names) for name in ("recording", "match_responses")]
    data = responses.data(renamed[0], run_datasets["matches"], renamed[1], "site03")
    drawing = responses.describe(data, thumb_base="run/img")
    assert drawing.marks_of("Image").columns["thumb"][0] == "..%2Fa%20b%2F%231%3F.png"
    assert drawing.marks_of("Image").columns["key"][0] == names[0]
    assert "src='run/img/@thumb.jpg'" in drawing.hit.tooltip


def test_the_axes_carry_the_colours_of_site_and_unit(data):
    axes = responses.describe(data, network="network2").axes
    assert (axes.x_token, axes.y_token) == ("V4", "network2")
    assert axes.xlabel == "site03, response (SD)"


def test_keys_count_the_favourites(data):
    assert [key.label for key in responses.keys(data)] == ["10 favourites of the site", "10 of the unit", "selected"]


@pytest.mark.parametrize("r", [0.6, 0.71, 0.9])
def test_the_note_on_a_steep_slope_lies_on_no_image(data, r):
    rng = np.random.default_rng(0)
    x = np.linspace(-1.7, 1.7, len(data))
    noise = rng.normal(size=len(x)) * np.sqrt(1 - r**2)
    steep = data.assign(site_sd=x, unit_sd=r * x + noise, is_silent=False)
    steep.attrs = data.attrs | {"correlation": r, "silent": 0.0}
    drawing = responses.describe(steep)
    note, (low, high) = drawing.marks_of("SlopeNoteBelow").columns, drawing.axes.xlim
    span, top = high - low, note["y"][0]
    below = (steep["unit_sd"] < top - 0.01 * span) & (steep["unit_sd"] > top - 0.06 * span)
    assert not (below & (steep["site_sd"] > high - 0.3 * span)).any()
    assert top <= r * (high - 0.3 * span)
