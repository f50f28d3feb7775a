"""Responses at four sites: which ones, the same data as the single scatter, one frame with four panels."""

import numpy as np
import pandas as pd

from dashboard.figures import responses, responses_sites
from dashboard.figures.paper import paper


def drawn(run, region="V4"):
    return responses_sites.data(*(run[name] for name in ("recording", "matches", "match_responses")), region)


def test_the_sites_stand_along_the_ranking_and_hold_what_the_single_scatter_holds(run_datasets):
    data = drawn(run_datasets)
    r = run_datasets["matches"]["correlation"].isel(rank=0).to_series()
    ranked = r[(run_datasets["recording"]["region"] == "V4").values].sort_values(ascending=False).index
    assert responses_sites.panels(data) == [ranked[int(share * 7)] for share in (0, 0.25, 0.5, 0.75)]
    for site, frame in data.groupby("site"):
        groups = (run_datasets[name] for name in ("recording", "matches", "match_responses"))
        alone = responses.data(*groups, site)
        pd.testing.assert_frame_equal(frame.drop(columns="site").reset_index(drop=True), alone, check_like=True)
        assert data.attrs["of_site"][site] == alone.attrs


def test_each_panel_has_its_slope_and_its_r(run_datasets):
    data = drawn(run_datasets)
    drawing = responses_sites.describe(data)
    slope = drawing.marks_of("Slope").columns
    dx, dy = (np.diff(slope[name].reshape(-1, 3)[:, :2])[:, 0] for name in "xy")
    r = [one["correlation"] for one in data.attrs["of_site"].values()]
    np.testing.assert_allclose(dy / dx, r)
    assert [
        f"r {value:.2f}" in text for value, text in zip(r, drawing.marks_of("NoteInk").columns["text"], strict=True)
    ]
    assert "7 V4 sites" in responses_sites.caption(data)
    assert paper(drawing, width=940, height=310) is not None


def test_a_region_without_a_match_has_no_panel(run_datasets):
    matches = run_datasets["matches"].copy(deep=True)
    matches["correlation"][:] = np.nan
    data = drawn({**run_datasets, "matches": matches})
    assert responses_sites.panels(data) == []
    assert responses_sites.describe(data).marks_of("Image").is_empty
