import numpy as np
import pytest

from dashboard.figures import validated_maps, validated_maps_sites
from tests.dashboard.figures.judged_maps import judged


@pytest.fixture
def data():
    return validated_maps.data(judged(), "V4")


def test_maps_are_sorted_by_their_best_r_and_those_without_a_unit_come_last(data):
    assert data["best"].iloc[:-1].is_monotonic_decreasing
    assert np.isnan(data["best"].iloc[-1])
    assert data["place"].tolist() == list(range(1, len(data) + 1))
    assert data["channel"].iloc[0] == 3


def test_the_rule_parts_validated_maps_from_the_others(data):
    drawing = validated_maps.describe(data)
    rule = drawing.marks_of("Zero").columns["x"][-1]
    assert rule == data.attrs["n_validated"] + 0.5
    assert (drawing.marks_of("MatchDense").columns["x"] < rule).all()
    assert (drawing.marks_of("Control").columns["x"] > rule).all()
    assert (drawing.marks_of("MatchDense").columns["y"] > data.attrs["threshold"]).all()


def test_the_threshold_is_the_corrected_one_and_says_where_it_is_from(data):
    drawing = validated_maps.describe(data)
    assert drawing.marks_of("ChanceEdge").columns["y"].tolist() == [0.35, 0.35]
    assert drawing.marks_of("Chance").columns["top"].tolist() == [0.35]
    assert drawing.marks_of("Note").columns["text"][0] == "chance over maps, positions and sites (shuffles)"
    data.attrs["threshold_shuffles"] = 0.1
    assert validated_maps.describe(data).marks_of("Note").columns["text"][0].endswith("(closed form)")
    data.attrs["threshold_shuffles"] = np.nan
    assert validated_maps.describe(data).marks_of("Note").columns["text"][0].endswith("too few shuffles")
    assert validated_maps.keys(data)[2].label == "chance for the best of all maps, positions and sites: 0.35"


@pytest.mark.parametrize(
    ("n_validated", "role", "text"),
    [
        (6, "PinNoteLeft", "6 maps validated"),
        (10, "PinNoteLeft", "10 maps validated, 1 not, 1 without a unit"),
        (1, "PinNoteRight", "1 map validated, 10 not, 1 without a unit"),
    ],
)
def test_notes_stand_where_there_is_room(n_validated, role, text):
    data = validated_maps.data(judged(n_validated), "V4")
    assert validated_maps.describe(data).marks_of(role).columns["text"].tolist() == [text]


def test_a_map_can_be_selected_and_tapped(data):
    drawing = validated_maps.describe(data, channel=3)
    assert drawing.marks_of("Selection").columns["x"].tolist() == [1]
    assert drawing.marks_of("PointName").columns["text"].tolist() == ["map 3"]
    hit = drawing.marks_of("Hit").columns
    assert hit["key"][0] == 3
    assert hit["told"][0] == "validated: r 0.60 with site1 at (2, 4), corrected p 0.001"
    assert hit["told"][-1] == "no unit"


def test_the_caption_says_over_what_is_corrected(data):
    assert validated_maps.caption(data) == "6 of 12 maps validated by 3 of 4 V4 sites, p < 0.05 over all of them"


def test_the_counts_share_the_order_and_the_axis_of_the_best_r(data):
    of_sites = validated_maps_sites.data(judged(), "V4")
    assert of_sites["channel"].tolist() == data["channel"].tolist()
    assert validated_maps_sites.describe(of_sites).axes.xlim == validated_maps.describe(data).axes.xlim
