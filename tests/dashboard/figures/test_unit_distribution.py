import numpy as np
import pytest

from dashboard.figures import chance, unit_distribution

GROUPS = ("unit_counts", "matches", "null", "recording", "layers")


@pytest.fixture
def data(run_datasets):
    return unit_distribution.data(*(run_datasets[name] for name in GROUPS), "site02")


def test_every_unit_is_counted_once(data, run_datasets):
    assert len(data) == 200
    assert data["count"].sum() == run_datasets["layers"]["units"].sum() == data.attrs["n_units"]


def test_the_match_is_in_the_last_filled_bin(data):
    assert data.loc[data["is_match"], "r_low"].item() == data.loc[data["count"] > 0, "r_low"].max()


def test_the_pin_stands_at_the_match_and_the_zone_at_chance_for_the_best(data, run_datasets):
    drawing = unit_distribution.describe(data)
    zone = drawing.marks_of("Chance").columns
    limit = chance.best_of_all(run_datasets["null"], "V4")
    assert (zone["left"][0], zone["right"][0]) == (-limit, limit)
    assert drawing.marks_of("Pin").columns["x0"][0] == data.attrs["correlation"]
    assert drawing.axes.xlim[0] < 0 < data.attrs["correlation"] < drawing.axes.xlim[1]


def test_a_runner_up_moves_the_pin(run_datasets):
    data = unit_distribution.data(*(run_datasets[name] for name in GROUPS), "site02", rank=50)
    texts = [
        mark.columns["text"][0]
        for mark in unit_distribution.describe(data).marks
        if mark.role.startswith("PinNote") and not mark.is_empty
    ]
    assert texts == [f"rank 50 {data.attrs['correlation']:.2f}"]


def test_one_layer_alone_can_be_counted(run_datasets):
    data = unit_distribution.data(*(run_datasets[name] for name in GROUPS), "site02", layer="fc")
    assert data["count"].sum() == 12
    assert unit_distribution.caption(data) == "12 units in fc, none constant"


def test_the_scale_is_logarithmic_and_says_counts(data):
    axes = unit_distribution.describe(data).axes
    assert [text for _, text in axes.yticks] == ["1", "10"]
    outline = unit_distribution.describe(data).marks_of("UnitsOutline").columns["y"]
    assert outline.max() == pytest.approx(np.log10(data["count"].max()))


def test_constant_units_are_named_in_the_caption(run_datasets):
    layers = run_datasets["layers"].copy(deep=True)
    layers["n_constant"][0] = 1234
    groups = [layers if name == "layers" else run_datasets[name] for name in GROUPS]
    assert unit_distribution.caption(unit_distribution.data(*groups, "site02")) == "324 units, 1,234 constant"


def test_without_a_null_there_is_no_zone_and_no_note(data):
    data.attrs["chance"] = float("nan")
    drawing = unit_distribution.describe(data)
    assert drawing.marks_of("Chance").is_empty
    assert drawing.marks_of("ChanceNoteTop").is_empty


def test_every_unit_without_an_r_is_named_in_the_caption_by_its_reason(run_datasets):
    layers = run_datasets["layers"].copy(deep=True)
    layers["n_low_variation"][0], layers["n_nonfinite"][1] = 12, 3
    groups = [layers if name == "layers" else run_datasets[name] for name in GROUPS]
    told = unit_distribution.caption(unit_distribution.data(*groups, "site02"))
    assert told == "324 units, 12 vary by rounding only, 3 not finite"
