import numpy as np
import pytest
import xarray as xr

from dashboard.figures import chance


def null(correlation=(0.1, 0.2, 0.3, 0.9), held_out=(-0.1, 0.0, 0.05, 0.9), region=("V4", "V4", "V4", "IT")):
    return xr.Dataset(
        {
            "correlation": (("layer", "shuffle"), [correlation]),
            "held_out": (("layer", "shuffle"), [held_out]),
            "network_correlation": ("shuffle", list(correlation)),
            "network_held_out": ("shuffle", list(held_out)),
        },
        {"region": ("shuffle", list(region))},
    )


def test_a_region_has_the_chance_of_its_own_shuffles():
    assert chance.best_of_all(null(), "V4") == pytest.approx(np.percentile([0.1, 0.2, 0.3], 95))
    assert chance.best_of_all(null(), "IT") == pytest.approx(0.9)


def test_the_three_kinds_of_chance_differ(run_datasets):
    found = run_datasets["null"]
    for region in ("V4", "IT"):
        one_site = chance.best_of_all(found, region)
        median = chance.median_over_sites(found, region)
        held_out = chance.held_out(found, region)
        assert held_out < median < one_site
        assert one_site - median > 0.01
        assert median - held_out > 0.01


def test_chance_within_a_layer_is_at_most_that_of_the_network(run_datasets):
    found = run_datasets["null"]
    assert (chance.in_layers(found, "V4") <= chance.best_of_all(found, "V4") + 1e-12).all()
    assert chance.held_out_in_layers(found, "V4").shape == (found.sizes["layer"],)


def test_without_shuffles_chance_is_unknown_and_missing_values_are_passed_over():
    assert np.isnan(chance.best_of_all(null(), "V1"))
    assert np.isnan(chance.in_layers(null(), "V1")).all()
    assert chance.median_over_sites(null(correlation=(0.1, np.nan, 0.3, 0.9)), "V4") == pytest.approx(0.2)
    assert chance.in_layers(null(correlation=(0.1, np.nan, 0.3, 0.9)), "V4", 50) == pytest.approx(0.2)
