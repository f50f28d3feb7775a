import numpy as np
import pytest

from dashboard.figures import runner_up_positions

GROUPS = ("matches", "layers", "recording")


@pytest.fixture
def groups(run_datasets):
    return [run_datasets[name] for name in GROUPS]


def planted(groups, layer, y, x):
    matches = groups[0].copy(deep=True)
    for name, value in (("layer", layer), ("y", y), ("x", x)):
        matches[name][0, 0] = value
    return runner_up_positions.data(matches, *groups[1:], "site00")


def test_a_unit_lies_at_the_centre_of_its_cell_in_degrees(groups):
    row = planted(groups, "conv1", 0, 5).iloc[0]  # 6 x 6 cells over 8 degrees
    assert row["azimuth"] == pytest.approx(4 - 8 / 12)
    assert row["elevation"] == pytest.approx(4 - 8 / 12)


def test_rows_of_a_map_run_downwards(groups):
    assert planted(groups, "conv1", 5, 0).iloc[0]["elevation"] < 0


def test_units_of_dense_layers_have_no_position_and_are_counted(groups):
    data = planted(groups, "fc", 0, 0)
    assert np.isnan(data.iloc[0]["azimuth"])
    n = (data["layer"] == "fc").sum()
    assert data.attrs["n_dense"] == n
    assert runner_up_positions.caption(data).startswith("positions in the maps, degrees")
    assert f"{n} unit" in runner_up_positions.caption(data)
    assert runner_up_positions.describe(data).marks_of("Selection").is_empty


def test_without_a_size_in_degrees_positions_are_in_image_sizes(groups):
    recording = groups[2].copy()
    recording.attrs = {name: value for name, value in recording.attrs.items() if name != "size_deg"}
    data = runner_up_positions.data(groups[0], groups[1], recording, "site00")
    assert np.nanmax(np.abs(data[["azimuth", "elevation"]])) < 0.5
    assert "image sizes" in runner_up_positions.caption(data)
    assert [text for _, text in runner_up_positions.describe(data).axes.xticks] == ["left", "0", "right"]


def test_ranks_without_a_unit_are_left_out(groups):
    matches = groups[0].copy(deep=True)
    matches["unit"][0, 90:] = -1
    assert len(runner_up_positions.data(matches, *groups[1:], "site00")) == 90


def test_the_selected_rank_has_a_ring_and_a_tap_gives_a_rank(groups):
    data = runner_up_positions.data(*groups, "site00")
    rank = int(data.loc[data["azimuth"].notna(), "rank"].iloc[3])
    drawing = runner_up_positions.describe(data, rank=rank)
    assert drawing.marks_of("Selection").columns["x"][0] == data.set_index("rank").loc[rank, "azimuth"]
    assert drawing.marks_of("UnitPosition").columns["key"][0] == 0


def test_the_help_counts_no_units_that_the_run_may_not_have():
    assert "100 best" not in runner_up_positions.HELP
