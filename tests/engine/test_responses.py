import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.errors import RecordingError
from engine.responses import averaged_over_repeats, response_maps

SITES = ["a", "b", "c"]


def maps(**changes):
    coords = {"site": SITES, "rf_y": [2.0, 0.0, -2.0, -4.0], "rf_x": [0.0, 1.0]} | changes
    return xr.DataArray(np.arange(24.0).reshape(3, 4, 2), coords=coords, dims=("site", "rf_y", "rf_x"))


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@given(hnp.arrays(np.float64, (4, 3, 5), elements=st.just(np.nan) | st.floats(-1e6, 1e6, width=32)))
def test_the_mean_over_repeats_is_numpys_without_the_missing_ones(trials):
    response, kept = averaged_over_repeats(trials)
    np.testing.assert_allclose(response, np.nanmean(trials, axis=2), rtol=1e-12, atol=1e-9)
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, trials)


def test_trials_stay_float64_where_float32_would_change_them():
    trials = np.full((3, 2, 2), 0.1)
    assert averaged_over_repeats(trials)[1].dtype == np.float64
    assert averaged_over_repeats(trials + 1e300)[1].dtype == np.float64


def test_masked_responses_are_missing_ones():
    response, trials = averaged_over_repeats(np.ma.masked_equal([[1, 2], [3, 4]], 4))
    assert trials is None
    np.testing.assert_array_equal(response, [[1.0, 2.0], [3.0, np.nan]])


@pytest.mark.parametrize(
    ("responses", "says"),
    [
        (np.zeros(3), r"must be \(stimulus, site\) or \(stimulus, site, repeat\), none empty, got shape \(3,\)"),
        (np.zeros((3, 0)), r"got shape \(3, 0\)"),
        ([["1", "2"]], "must be real numbers, got <U1. Make them float64"),
        (np.zeros((2, 2), complex), "must be real numbers, got complex128"),
        (np.array([[1.0, np.inf], [0.0, -np.inf]]), r"2 of 4 values are infinite, first at stimulus 0, site 1"),
        (xr.DataArray(np.zeros((2, 2))), r"is a DataArray, whose labels would be lost.*responses.to_numpy\(\)"),
        (pd.DataFrame(np.zeros((2, 2))), "is a DataFrame, whose labels would be lost"),
    ],
)
def test_what_is_no_response_is_refused(responses, says):
    with pytest.raises(RecordingError, match=says):
        averaged_over_repeats(responses)


def test_maps_follow_the_sites_by_name():
    shuffled = maps().isel(site=[2, 0, 1]).transpose("rf_x", "site", "rf_y")
    xr.testing.assert_identical(response_maps(shuffled, SITES), maps())


@pytest.mark.parametrize(
    ("rf_map", "says"),
    [
        (np.zeros((3, 4, 2)), r"must be an xr.DataArray .*, got ndarray of shape \(3, 4, 2\)\. Write xr.DataArray"),
        (maps().drop_vars("site"), r"got dims \('site', 'rf_y', 'rf_x'\) with coordinates \['rf_x', 'rf_y'\]"),
        (maps(site=["a", "b", "z"]), r"same sites: 1 have no map \('c'\), 1 maps no site \('z'\)"),
        (maps(rf_x=[1.0, 1.0]), r"coordinate 'rf_x' must be degrees that rise or fall steadily, got \[1. 1.\]"),
        (maps(rf_x=[1.0, np.nan]), "coordinate 'rf_x' must be degrees"),
        (maps(rf_x=["left", "right"]), "coordinate 'rf_x' must be degrees"),
        (maps() + np.inf, "must hold finite numbers, NaN = missing"),
    ],
)
def test_maps_without_names_or_degrees_are_refused(rf_map, says):
    with pytest.raises(RecordingError, match=f"(?s){says}"):
        response_maps(rf_map, SITES)
