"""Correlation in float64 against scipy, pair by pair."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from engine.exact import correlate_exactly, correlate_pairs, is_sparse


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pairs_equal_scipy_with_missing_responses(dtype):
    rng = np.random.default_rng(0)
    activation = (rng.normal(size=(20, 50)) * 10.0 ** rng.integers(-20, 20, (20, 1)) + 3).astype(dtype)
    response = np.where(rng.random((50, 4)) < 0.2, np.nan, rng.gamma(2, 5, size=(50, 4)))
    row, column = np.repeat(np.arange(20), 4), np.tile(np.arange(4), 20)
    r = correlate_pairs(activation, row, column, response)
    for pair, (unit, site) in enumerate(zip(row, column, strict=True)):
        seen = np.isfinite(response[:, site])
        x = activation[unit, seen].astype(np.float64)
        if x.std() > 1e-6 * np.abs(x).max():
            assert r[pair] == pytest.approx(pearsonr(x, response[seen, site]).statistic, abs=1e-9)
        else:
            assert np.isnan(r[pair]) == (x.std() <= 2**-24 * np.abs(x).max())


def test_equal_rows_give_equal_r_to_the_last_bit():
    rng = np.random.default_rng(1)
    activation = np.tile(rng.normal(size=(1, 641)).astype(np.float32), (99, 1))
    assert len(set(correlate_exactly(activation, rng.normal(size=641)))) == 1


def test_a_constant_site_and_too_few_stimuli_give_nan():
    activation = np.random.default_rng(2).normal(size=(3, 10))
    response = np.full((10, 2), 4.0)
    response[2:, 1] = np.nan
    response[:2, 1] = [1, 2]
    assert np.isnan(correlate_pairs(activation, np.array([0, 1]), np.array([0, 1]), response)).all()


def test_a_unit_active_on_few_stimuli_is_sparse():
    activation = np.zeros((2, 40), np.float32)
    activation[0, :4], activation[1, :5] = 1, 1
    assert is_sparse(activation, 5).tolist() == [True, False]


@pytest.mark.parametrize("chosen", [slice(0, 20), slice(20, 45), np.r_[0:10, 30:45]])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_chosen_stimuli_and_threads_change_no_bit(chosen, n_threads):
    rng = np.random.default_rng(1)
    activation, response = rng.normal(size=(17, 45)).astype(np.float32), rng.gamma(2, 5, size=(45, 3))
    row, column, is_chosen = rng.integers(0, 17, 101), rng.integers(0, 3, 101), np.zeros(45, bool)
    is_chosen[chosen] = True
    alone = correlate_pairs(np.ascontiguousarray(activation[:, is_chosen]), row, column, response[is_chosen])
    np.testing.assert_array_equal(
        correlate_pairs(activation, row, column, response, is_chosen, n_threads=n_threads), alone
    )
    assert np.isfinite(alone).all()
    assert np.abs(alone - correlate_pairs(activation, row, column, response)).max() > 0.01
