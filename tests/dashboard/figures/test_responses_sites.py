import numpy as np

from dashboard.figures import responses, responses_sites
from dashboard.figures.drawing import paper


def test_sites_are_those_at_fixed_places_of_the_region_in_the_recordings_order(run_datasets):
    groups = [run_datasets[name] for name in ("recording", "matches", "match_responses")]
    data = responses_sites.data(*groups, "IT", places=(0, 2, 50))
    assert responses_sites.panels(data) == ["site07", "site09"]
    assert len(data) == 240
    alone = responses.data(*groups, "site09")
    np.testing.assert_array_equal(data.loc[data["site"] == "site09", "unit_sd"], alone["unit_sd"])
    assert responses_sites.PLACES == (0, 25, 50, 75)
    assert responses_sites.caption(data).endswith("of 5 IT sites, in the recording's order")


def test_a_panel_is_the_scatter_of_that_site(run_datasets):
    groups = [run_datasets[name] for name in ("recording", "matches", "match_responses")]
    data = responses_sites.data(*groups, "V4", places=(0, 3))
    drawing = responses_sites.describe(data, "site03")
    alone = responses.describe(responses.data(*groups, "site03"))
    np.testing.assert_array_equal(drawing.marks_of("Image").columns["y"], alone.marks_of("Image").columns["y"])
    assert drawing.axes.xlabel == "site03, response (SD)"
    assert paper(drawing).axes


def test_a_region_without_sites_has_no_panel(run_datasets):
    groups = [run_datasets[name] for name in ("recording", "matches", "match_responses")]
    assert responses_sites.panels(responses_sites.data(*groups, "V1")) == []
