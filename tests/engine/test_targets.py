"""Standardised columns, their patterns of present stimuli, and shuffles."""

import numpy as np
import xarray as xr

from engine.folds import assign_folds
from engine.targets import make_targets
from tests.engine.test_moments import recording


def example(missing: float = 0.0) -> xr.Dataset:
    rng = np.random.default_rng(0)
    responses = rng.gamma(2, 5, size=(50, 4))
    responses[rng.random(responses.shape) < missing] = np.nan
    return recording(responses)


def test_columns_have_mean_zero_and_norm_one_over_what_the_site_saw():
    data = example(missing=0.2)
    targets = make_targets(data, assign_folds(data, 2, 0), shuffles=3, seed=0)
    np.testing.assert_allclose(targets.sum_z().sum(0), 0, atol=1e-6)
    np.testing.assert_allclose(targets.sum_zz().sum(0), 1, atol=1e-6)
    present = targets.present[:, targets.pattern]
    assert (targets.z[present == 0] == 0).all()
    np.testing.assert_array_equal(present[:, :4], np.isfinite(targets.response))
    assert (targets.present[:, 0] == 1).all()


def test_a_shuffled_column_holds_the_same_responses_of_the_same_stimuli_set():
    data = example(missing=0.2)
    targets = make_targets(data, assign_folds(data, 2, 0), shuffles=5, seed=0)
    for k, site in enumerate(targets.shuffled_site):
        np.testing.assert_allclose(np.sort(targets.z[:, 4 + k]), np.sort(targets.z[:, site]))
        assert targets.pattern[4 + k] == targets.pattern[site]
        assert not np.array_equal(targets.z[:, 4 + k], targets.z[:, site])


def test_the_order_of_stimuli_and_sites_changes_nothing():
    data = example()
    other = data.isel(stimulus=np.random.default_rng(1).permutation(50), site=[2, 0, 3, 1])
    first = make_targets(data, assign_folds(data, 2, 5), shuffles=6, seed=3)
    second = make_targets(other, assign_folds(other, 2, 5), shuffles=6, seed=3)
    np.testing.assert_array_equal(first.stimuli, second.stimuli)
    np.testing.assert_array_equal(first.z[:, :4][:, [2, 0, 3, 1]], second.z[:, :4])
    np.testing.assert_array_equal(first.z[:, 4:], second.z[:, 4:])


def test_without_missing_responses_there_is_one_pattern():
    data = example()
    assert make_targets(data, assign_folds(data, 2, 0), shuffles=1, seed=0).n_patterns == 1
