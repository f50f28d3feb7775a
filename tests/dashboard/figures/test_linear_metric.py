"""Single unit against linear metric: two figures over the same analysis."""

import numpy as np
import pytest
import xarray as xr

from dashboard.figures import linear_metric, linear_metric_networks
from dashboard.figures.paper import paper

PREDICTORS = ["pls", "ridge", "layer_unit", "network_unit"]


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    correlation, folds = rng.uniform(0, 0.8, (4, 10, 9)), rng.uniform(0, 0.8, (4, 2, 9))
    correlation[3] = np.nan
    score = {
        f"{p}{n}": (("predictor", "region"), rng.uniform(0.1, 0.6, (4, 2))) for p in ("", "fold_") for n in _SCORES
    }
    for name in _SCORES:
        score[name][1][3] = np.nan
    values = {
        "correlation": (("predictor", "split", "site"), correlation),
        "fold_correlation": (("predictor", "fold", "site"), folds),
        **score,
        "single": ("site", rng.uniform(0.2, 0.8, 9)),
        "site_region": ("site", np.array(["V4"] * 5 + ["IT"] * 4)),
        "layer": ("region", np.array(["fire8", "fire5"])),
        "region_status": ("region", np.array(["ok", "ok"], dtype=object)),
        **{name: ("region", [4, 5]) for name in ("n_sites",)},
        "n_stimuli": ("region", [640, 640]),
        "n_components": ("region", [25, 25]),
    }
    coords = {"predictor": PREDICTORS, "site": [f"s{k}" for k in range(9)], "region": ["IT", "V4"]}
    return xr.Dataset(values, coords)


_SCORES = ("score", "error")


def test_sites_are_sorted_by_the_linear_metric(found):
    data = linear_metric.data(found, "V4")
    pls = found["correlation"].sel(predictor="pls").mean("split").to_series()[:5].sort_values(ascending=False)
    assert list(data["site"]) == list(pls.index)
    np.testing.assert_allclose(data["linear"], pls)
    np.testing.assert_allclose(data["single"], found["single"].to_series()[pls.index])
    np.testing.assert_allclose(data["difference"], data["single"] - data["linear"])
    paper(linear_metric.describe(data, regions=["IT", "V4"]))


@pytest.mark.parametrize(("comparison", "name"), [("layer", "correlation"), ("network", "fold_correlation")])
def test_alike_means_the_same_stimuli_for_both(found, comparison, name):
    data = linear_metric.data(found, "IT", comparison=comparison).set_index("site")
    values = found[name].sel(site=data.index.tolist()).mean(found[name].dims[1])
    np.testing.assert_allclose(data["single"], values.sel(predictor=f"{comparison}_unit"))
    np.testing.assert_allclose(data["linear"], values.sel(predictor="pls"))


def test_the_caption_says_what_is_not_like_for_like(found):
    data = linear_metric.data(found, "V4")
    higher = int((data["difference"] > 0).sum())
    assert linear_metric.caption(data) == (
        "as in the paper, not like for like; PLS-25 of fire5, held out: mean of 10 splits; 640 images; "
        f"single higher at {higher} of 5 V4 sites"
    )
    alike = linear_metric.caption(linear_metric.data(found, "V4", comparison="network"))
    assert alike.startswith("alike: same parts of the run, unit of the network; PLS-25 of fire5, held out: mean of 2 p")


def test_another_comparison_is_refused(found):
    with pytest.raises(ValueError, match="comparison='best': expected one of paper, layer, network"):
        linear_metric.data(found, "V4", comparison="best")


def test_a_region_without_values_says_why(found):
    status = found["region_status"].copy()
    status[1] = "no site has a match"
    data = linear_metric.data(found.assign(region_status=status), "V4")
    assert linear_metric.caption(data) == "no site has a match"
    paper(linear_metric.describe(data))
    bars = linear_metric_networks.data({"A": found.assign(region_status=status)}, "V4")
    assert linear_metric_networks.caption(bars) == "no network has this analysis for V4 yet"
    paper(linear_metric_networks.describe(bars))


def test_bars_are_grouped_by_what_they_share(found):
    data = linear_metric_networks.data({"A": found, "B": found}, "V4")
    assert len(data) == 2 * (2 + 3 + 4)
    paper_rows = data[data["group"] == "as in the paper, not like for like"]
    assert list(paper_rows["is_single"]) == [True, False] * 2
    single = np.median(found["single"][:5])
    assert paper_rows["score"].iloc[0] == pytest.approx(single)
    assert paper_rows["score"].iloc[1] == found["score"].sel(predictor="pls", region="V4")
    folds = data[data["group"] == "held out, the same 2 parts of the run"]
    assert folds["score"].iloc[0] == found["fold_score"].sel(predictor="network_unit", region="V4")
    drawing = linear_metric_networks.describe(data, regions=["IT", "V4"])
    hit = drawing.marks_of("Hit").columns
    assert (hit["top"][1:] <= hit["bottom"][:-1] + 1e-9).all()
    assert len(drawing.marks_of("NetworkBar").columns["left"]) == data["is_single"].sum()
    assert drawing.axes.xlabel == "Median r over 5 V4 sites"
    paper(drawing)
