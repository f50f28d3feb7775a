import numpy as np
import pytest

from dashboard.figures import validated_maps_sites
from tests.dashboard.figures.judged_maps import THRESHOLDS, judged


@pytest.fixture
def data():
    return validated_maps_sites.data(judged(), "V4")


def test_counts_never_rise_with_the_threshold(data):
    counts = data[[f"above_{t:g}" for t in THRESHOLDS]].to_numpy()
    assert (np.diff(counts, axis=1) <= 0).all()


def test_no_threshold_below_chance_is_drawn(data):
    assert validated_maps_sites.shown_thresholds(data) == [0.4, 0.5]
    data.attrs["threshold"] = 0.05
    assert validated_maps_sites.shown_thresholds(data) == [0.1, 0.2, 0.3, 0.4]


def test_areas_are_nested_steps_of_the_counts(data):
    drawing = validated_maps_sites.describe(data)
    areas = [mark.columns for mark in drawing.marks if mark.kind == "area"]
    assert len(areas) == 2
    for found, threshold in zip(areas, (0.4, 0.5), strict=True):
        np.testing.assert_array_equal(found["high"][::2], data[f"above_{threshold:g}"])
        np.testing.assert_allclose((found["x"][::2] + found["x"][1::2]) / 2, data["place"])


def test_the_legend_names_each_threshold_and_stacks_as_many_samples(data):
    drawing = validated_maps_sites.describe(data)
    assert drawing.marks_of("Note").columns["text"].tolist() == ["r > 0.4", "r > 0.5"]
    samples = next(mark for mark in drawing.marks if mark.kind == "boxes" and mark.role == "Units").columns
    assert np.unique(samples["top"], return_counts=True)[1].tolist() == [2, 1]  # lowest row darkest


def test_a_tap_tells_all_thresholds(data):
    told = validated_maps_sites.describe(data).marks_of("Hit").columns["told"][0]
    assert told.startswith("5 above 0.1, 4 above 0.2, ")
    assert validated_maps_sites.caption(data) == "3 of 4 V4 sites; thresholds above chance, 0.35"
    assert validated_maps_sites.keys(data) == []


def test_the_selected_map_is_marked_above_its_bar(data):
    place = int(np.flatnonzero(data["channel"] == 3)[0]) + 1
    pin = validated_maps_sites.describe(data, channel=3).marks_of("PinHead").columns
    assert pin["x"].tolist() == [place]
    assert pin["y"][0] > data["above_0.4"].iloc[place - 1]
    assert validated_maps_sites.describe(data).marks_of("PinHead").is_empty


def test_where_no_site_passes_chance_the_frame_is_empty(data):
    data.attrs["threshold"] = 0.9
    drawing = validated_maps_sites.describe(data)
    assert not [mark for mark in drawing.marks if mark.kind == "area"]
    assert drawing.marks_of("Note").is_empty
